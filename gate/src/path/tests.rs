use super::*;

fn readings(raw: &str) -> Vec<String> {
    let readings = Readings::parse(raw.as_bytes()).unwrap();
    readings
        .iter()
        .map(|path| String::from_utf8(path.to_vec()).unwrap())
        .collect()
}

#[test]
fn a_plain_path_has_one_reading_and_loses_its_query() {
    for raw in [
        "/",
        "/api/me",
        "/a.b/c..d/e~f",
        "/x?y=/../z#not-here",
        "/@scope/name",
        "/.hidden",
        "/...x/y",
    ] {
        let path = raw.split('?').next().unwrap();
        assert_eq!(readings(raw), [path], "{raw}");
    }
    // Whatever the query is like.
    assert_eq!(readings("/%61?x#y"), ["/a"]);
}

#[test]
fn a_plain_path_is_read_however_long_it_is() {
    let every = ('!'..='~')
        .filter(|char| !"\"#%/;<>?[\\]^`{|}".contains(*char))
        .collect::<String>();
    let raw = format!("/{every}/x.y").repeat(1_000);
    assert!(raw.len() > MAX_PATH_BYTES);
    assert_eq!(readings(&raw), [raw]);
}

#[test]
fn harmless_escapes_are_decoded() {
    assert_eq!(readings("/%61dmin"), ["/admin"]);
    assert_eq!(readings("/caf%c3%a9"), ["/café"]);
    assert_eq!(readings("/.well-known/x"), ["/.well-known/x"]);
}

#[test]
fn whatever_hides_a_way_to_admin_reads_as_admin_too() {
    for raw in [
        "//admin",
        "/./admin",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
        "/public//../../admin",
        "/public%2f..%2fadmin",
        "/public%2F%2e%2e%2Fadmin",
        "/public%5c..%5cadmin",
        "/public\\..\\admin",
        "/\\admin",
        "/admin;x=1",
        "/public/..;/admin",
        "/;/admin",
        "/public;/../admin",
        "/public/..%3b/admin",
        "/public/%252e%252e/admin",
        "/public%252f..%252fadmin",
        "/%2561dmin",
        "/admin%3Fx",
        "/admin%3fx/../y",
        "/admin%23x",
        "/admin%253Fx",
        "/admin%20",
        "/admin ",
        "/admin.",
        "/admin..",
        "/admin.%20.",
        "/public/..%20/admin",
        "/public/..%20%20/admin",
        "/admin%20;x=1",
        "/admin.%3Fx",
        "/public%5c..%20%5cadmin.%23x",
        "//x/admin",
        "///x/admin",
        "////x/admin",
        "//x//admin",
        "//x///admin",
        "//x/y/../admin",
        "//x/../y/../admin",
        "//x/./admin",
        "//x/%61dmin",
        "//x/admin;v=1",
        "//x/admin.",
        "//x/admin%20",
        "//x/admin%3Fy",
        "//x;y/admin",
        "//x:80/admin",
        "//:80/admin",
        "//user@x/admin",
        "//user:secret@x:80/admin",
        "//[::1]:80/admin",
        "//x%2Fy/admin",
        "//x%20y/admin",
        "//./admin",
        "//../admin",
        "/.//x/admin",
        "/.///x/admin",
        "/..//x/admin",
        "/public/..//x/admin",
        "/public/%2e%2e//x/admin",
        "/public/..;//x/admin",
        "/;//x/admin",
        "/;a//x/admin",
        "/%20/x/admin",
        "/\\x/admin",
        "/\\x\\admin",
        "/\\/x/admin",
        "//\\x/admin",
        "//x\\admin",
        "/%5Cx/admin",
        "/%5cx%5cadmin",
        "/%255Cx/admin",
        "/%2Fx/admin",
        "/%2fx%2fadmin",
        "/%2F%2Fx/admin",
        "/%252Fx/admin",
        "/.%2F/x/admin",
        "/.%2F%2Fx/admin",
        "/%2e//x/admin",
        "/.\\\\x/admin",
        "//x//y/admin",
        "//x/..//y/admin",
    ] {
        assert!(
            readings(raw).iter().any(|path| path == "/admin"),
            "{raw}: {:?}",
            readings(raw)
        );
    }
}

/// RFC 3986 §4.2: what follows two slashes is an authority; §3.3 and the URL standard of browsers lead to the rest.
#[test]
fn the_path_of_a_network_path_reference_may_be_the_root() {
    for raw in [
        "//x",
        "//x?y",
        "//x/",
        "//x:80",
        "///x",
        "/\\x",
        "/%2Fx",
        "/.//x",
        "//x%3Fy/admin",
    ] {
        assert!(
            readings(raw).iter().any(|path| path == "/"),
            "{raw}: {:?}",
            readings(raw)
        );
    }
}

#[test]
fn slashes_elsewhere_begin_no_authority() {
    assert_eq!(readings("/a//x/admin"), ["/a//x/admin", "/a/x/admin"]);
    assert_eq!(
        readings("/http://x/admin"),
        ["/http://x/admin", "/http:/x/admin"]
    );
    let many = format!("/{}", "a//".repeat(200));
    assert_eq!(readings(&many).len(), 2);
}

#[test]
fn an_ambiguous_path_keeps_its_literal_reading() {
    assert_eq!(readings("/public/../admin"), ["/admin", "/public/../admin"]);
    assert!(readings("/npm/@scope%2fname").contains(&"/npm/@scope%2Fname".to_owned()));
}

/// Whether a reader sees this path.
fn reads_as(raw: &[u8], path: &[u8]) -> bool {
    Readings::parse(raw).unwrap().iter().any(|way| way == path)
}

#[test]
fn a_path_that_is_not_utf_8_is_octets_first_and_read_in_every_encoding() {
    for (raw, octets, others) in [
        (
            &b"/caf%E9"[..],
            &b"/caf\xe9"[..],
            &["/caf\u{e9}", "/caf", "/caf?"][..],
        ),
        (b"/caf\xe9", b"/caf\xe9", &["/caf\u{e9}"]),
        (
            b"/adm%FFin",
            b"/adm\xffin",
            &["/adm\u{ff}in", "/admin", "/adm"],
        ),
        // By one reader it is Latin-1 throughout, by another only where it is not UTF-8.
        (
            b"/%c3%a9/%e9",
            b"/\xc3\xa9/\xe9",
            &["/\u{c3}\u{a9}/\u{e9}", "/\u{e9}/\u{e9}", "/\u{e9}/"],
        ),
        // Two bytes for one character, or two characters of which one has no bytes.
        (
            b"/%c3%c3%a9",
            b"/\xc3\xc3\xa9",
            &["/\u{c3}\u{e9}", "/\u{e9}"],
        ),
        // Overlong, but no other character than in its shortest form.
        (b"/%e0%83%a9", b"/\xe0\x83\xa9", &["/\u{e9}"]),
        (
            b"/%c1%a1dmin%ff",
            b"/\xc1\xa1dmin\xff",
            &["/admin", "/admin\u{ff}"],
        ),
        // Surrogates are no characters.
        (b"/%ed%a0%80", b"/\xed\xa0\x80", &["/"]),
        // Read as two bytes more, whatever they are.
        (b"/caf%E9/x/", b"/caf\xe9/x/", &["/caf\u{9bf8}/"]),
        (b"/a%ff%2Fb", b"/a\xff%2Fb", &["/a\u{ff}/b", "/a/b"]),
        (b"/a%25%ff2Fb", b"/a%25\xff2Fb", &["/a/b"]),
    ] {
        let readings = Readings::parse(raw).unwrap();
        assert_eq!(readings.normal(), octets, "{}", raw.escape_ascii());
        for other in others {
            let seen = reads_as(raw, other.as_bytes());
            assert!(seen, "{}: {other}: {readings:?}", raw.escape_ascii());
        }
    }
}

#[test]
fn overlong_forms_are_read_as_the_characters_they_hide() {
    for way in [
        "/public/%c0%ae%c0%ae/admin",
        "/public/%e0%80%ae%e0%80%ae/admin",
        "/public/%f0%80%80%ae%f0%80%80%ae/admin",
        "/public/%c0%ae./admin",
        "/public/%c0%2e%c0%2e/admin",
        "/public%c0%af..%c0%afadmin",
        "/public%e0%80%af..%e0%80%afadmin",
        "/public%f0%80%80%af..%f0%80%80%afadmin",
        "/public%c1%9c..%c1%9cadmin",
        "/%c0%afadmin",
        "/%c1%a1dmin",
        "/%c1!dmin",
        "/adm%FFin",
        "/adm%c0%aein",
        "/admin%FF",
        "/admin%FF/x",
        "/%FFadmin",
        "/admin%c0%bbx",
        "/admin%c0%bfx",
        "/admin%c0%a3x",
        "/admin%c0%a0",
        "/public/.%FF./admin",
        "/public/%c0%a5%32%65%c0%a52e/admin",
        "/public/%25c0%25ae%25c0%25ae/admin",
        "/public/%25c0%25af..%25c0%25afadmin",
        "/adm%25FFin",
        "//x%FF/admin",
    ] {
        assert!(
            reads_as(way.as_bytes(), b"/admin"),
            "{way}: {:?}",
            Readings::parse(way.as_bytes())
        );
    }
    // A character may take slashes with it, in readers that look only at its first byte.
    assert!(reads_as(b"/public/a%e9/x/../../admin", b"/admin"));
}

/// What a reader makes of bytes that it does not know stands in a segment of its own, which no rule can have.
#[test]
fn replaced_bytes_leave_the_segments_as_they_are() {
    for raw in [&b"/caf%E9/x"[..], b"/a/%ff../b", b"/%fe%ff/..", b"/a%80."] {
        let octets = Readings::parse(raw).unwrap();
        for octets in octets.iter() {
            let replaced = String::from_utf8_lossy(octets);
            let segments = |path: &[u8]| -> Vec<bool> {
                let utf8 = |segment: &[u8]| std::str::from_utf8(segment).is_ok();
                path.split(|byte| *byte == b'/').map(utf8).collect()
            };
            let known: Vec<bool> = replaced
                .split('/')
                .map(|segment| !segment.contains('\u{fffd}'))
                .collect();
            assert_eq!(segments(octets), known, "{replaced}");
        }
    }
}

#[test]
fn an_honest_path_in_another_encoding_has_few_readings() {
    for raw in [
        "/caf%E9/cr%E8me%20br%FBl%E9e;v=1.x",
        "/docs/%83e%83X%83g/%83%5C%83t%83g",
        "/docs/%c4%e3%ba%c3/%ca%c0%bd%e7",
        "/%cf%f0%e8%e2%e5%f2/%ec%e8%f0",
        "/download/%ff%fe",
    ] {
        let readings = Readings::parse(raw.as_bytes());
        let count = readings.as_ref().map(|readings| readings.iter().count());
        assert!(count.is_ok_and(|count| count <= 60), "{raw}: {count:?}");
    }
}

#[test]
fn a_path_that_no_reader_is_sure_of_is_an_error() {
    for (raw, error) in [
        (&b""[..], PathError::NotAbsolute),
        (b"*", PathError::NotAbsolute),
        (b"http://evil/public", PathError::NotAbsolute),
        (b"/admin#x", PathError::Fragment),
        (b"/public#/../admin", PathError::Fragment),
        (b"/%zz", PathError::Escape),
        (b"/%", PathError::Escape),
        (b"/%u0061", PathError::Escape),
        (b"/a%00", PathError::Control),
        (b"/a%0d%0ab", PathError::Control),
        (b"/a%1f", PathError::Control),
        (b"/a%7f", PathError::Control),
        (b"/a\tb", PathError::Control),
        // Overlong forms of NUL, CR and DEL, by readers that accept them.
        (b"/a%c0%80", PathError::Control),
        (b"/a%e0%80%8d", PathError::Control),
        (b"/a%f0%80%81%bf", PathError::Control),
    ] {
        assert_eq!(Readings::parse(raw), Err(error), "{}", raw.escape_ascii());
    }
}

#[test]
fn dots_never_climb_above_the_root() {
    assert_eq!(readings("/../../x")[0], "/x");
    assert_eq!(readings("/a/..")[0], "/");
    assert_eq!(readings("/a/.")[0], "/a/");
}

#[test]
fn what_some_reader_takes_for_admin_is_among_the_readings() {
    for (raw, reading) in [
        ("/public/%25zz/../%252e%252e/admin/users", "/admin/users"),
        ("/public/%2500/../%252e%252e/admin/users", "/admin/users"),
        ("/public/..%2fadmin/%2f../public/x", "/admin/public/x"),
        ("/public/..;/admin/;/../public/x", "/admin/public/x"),
        (
            "/public/%252e%252e/admin/\\..\\..\\public/x",
            "/admin/\\..\\..\\public/x",
        ),
        ("//admin/../public/x", "/admin/../public/x"),
    ] {
        assert!(
            readings(raw).iter().any(|path| path == reading),
            "{raw}: {:?}",
            readings(raw)
        );
    }
}

#[test]
fn a_percent_sign_is_no_crime() {
    assert_eq!(readings("/100%25")[0], "/100%25");
}

#[test]
fn the_end_of_a_segment_is_read_in_two_ways() {
    assert_eq!(readings("/a./b"), ["/a./b", "/a/b"]);
    assert_eq!(readings("/a%20"), ["/a ", "/a"]);
    assert_eq!(readings("/a/..."), ["/a/..."]);
    assert_eq!(readings("/who%3F"), ["/who%3F", "/who?", "/who"]);
}

#[test]
fn reading_in_every_way_is_bounded() {
    let raw = "/a%2f%5c\\;x%3b%252e".repeat(400);
    assert!(Readings::parse(raw.as_bytes()).unwrap().iter().count() <= 65);
    // Every authority may be followed by another.
    assert_eq!(
        Readings::parse("//a".repeat(100).as_bytes()),
        Err(PathError::TooManyReadings)
    );
    assert_eq!(readings(&"//a".repeat(16)).len(), 33);
    // The normal form, and as many others as there may be.
    assert_eq!(readings(&"//a".repeat(32)).len(), 1 + MAX_OTHER_READINGS);
    assert_eq!(
        Readings::parse("//a".repeat(33).as_bytes()),
        Err(PathError::TooManyReadings)
    );
    for (length, expected) in [
        (MAX_PATH_BYTES, Ok(())),
        (MAX_PATH_BYTES + 1, Err(PathError::TooLong)),
    ] {
        let raw = format!("/%61{}", "a".repeat(length - 4));
        let read = Readings::parse(raw.as_bytes()).map(|_| ());
        assert_eq!(read, expected, "{length}");
    }
    assert_eq!(
        Readings::parse(raw.repeat(2).as_bytes()),
        Err(PathError::TooLong)
    );
    for hidden in [
        "%c0%af..",
        "%ff",
        "%e9%2f",
        "%c0%a5%c0%a532%ff%5c",
        "%25c0%25ae%ed%a0/",
    ] {
        for times in [1, 2, 7, 400] {
            let raw = format!("/{}", hidden.repeat(times));
            let count = Readings::parse(raw.as_bytes()).map(|read| read.iter().count());
            let bounded = match count {
                Ok(count) => count <= 1 + MAX_OTHER_READINGS,
                Err(error) => error == PathError::TooManyReadings,
            };
            assert!(bounded, "{hidden} {times}: {count:?}");
        }
    }
    let every = "/%2f..%20/a.%5c\\./;x%3b%252e%253f/%23y//".repeat(100);
    assert_eq!(
        Readings::parse(every.as_bytes()),
        Err(PathError::TooManyReadings)
    );
}
