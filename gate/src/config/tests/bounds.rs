//! Documents that are too much (threat E8).

use super::*;

#[test]
fn a_megabyte_is_reported_in_one_short_line() {
    let long = "x".repeat(1_048_576);
    for (place, name) in [
        ("/projects/0/endpoint", "projects[0].endpoint"),
        ("/report_only", "report_only"),
    ] {
        let lines = refused(with(&[(place, json!(long))]).to_string());
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with(name) && lines[0].len() < 400,
            "{}",
            lines[0].len()
        );
    }
    let lines = refused(with(&[(&format!("/{long}"), json!(1))]).to_string());
    assert!(lines[0].len() < 400, "{}", lines[0].len());
    let lines = refused("[".to_owned() + &"1,".repeat(524_288) + "1]");
    assert_eq!(lines, ["configuration: expected an object, found an array"]);
}

#[test]
fn a_megabyte_of_members_is_read_in_bounded_time() {
    let members: Vec<String> = (0..80_000).map(|nth| format!(r#""{nth:06}":1"#)).collect();
    let text = format!("{{{}}}", members.join(","));
    assert_eq!(refused(text).len(), 100);
}
