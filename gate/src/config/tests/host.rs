//! What a configuration needs of its host.

use super::*;

/// A host that lacks these powers.
struct Lacking<'a>(&'a [Power]);

impl Host for Lacking<'_> {
    fn has(&self, power: Power) -> bool {
        !self.0.contains(&power)
    }
}

fn project(more: Value) -> Value {
    let mut config = smallest();
    let project = config["projects"][0].as_object_mut().unwrap();
    project.extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn only_what_waits_needs_more_than_a_clock() {
    let inline = json!({ "inline": jwks() });
    let (all, clock) = (&Power::ALL[..], &[Power::Clock][..]);
    for (config, needed) in [
        (smallest(), all),
        (project(json!({ "session": null })), all),
        (
            project(json!({ "jwks": { "discover": true }, "session": null })),
            all,
        ),
        (project(json!({ "jwks": inline })), all),
        (project(json!({ "jwks": inline, "session": {} })), all),
        (
            project(json!({ "jwks": inline, "jwt": { "revalidate": "1m" } })),
            all,
        ),
        (project(json!({ "jwks": inline, "session": null })), clock),
    ] {
        let parsed = accepted(&config);
        for power in Power::ALL {
            let needs = needed.contains(&power);
            assert_eq!(parsed.needs(power), needs, "{power}: {config}");
            let checked = parsed.check_host(&Lacking(&[power]));
            assert_eq!(checked.is_err(), needs, "{power}: {config}");
        }
        assert_eq!(parsed.check_host(&Lacking(&[])), Ok(()), "{config}");
    }
}

#[test]
fn all_that_is_missing_is_named_in_one_line() {
    let config = accepted(&smallest());
    for (lacking, line) in [
        (
            &[Power::Callouts][..],
            "configuration: the host lacks what it needs: calls (proxy_http_call)",
        ),
        (
            &Power::ALL[..],
            "configuration: the host lacks what it needs: a clock (proxy_get_current_time_nanoseconds), \
             calls (proxy_http_call), ticks (proxy_set_tick_period_milliseconds), \
             acting for a request that waits (proxy_set_effective_context)",
        ),
    ] {
        let errors = config.check_host(&Lacking(lacking)).unwrap_err();
        assert_eq!(errors.to_string(), line);
    }
}

#[test]
fn what_is_not_needed_is_not_asked_for() {
    struct Asked(std::cell::RefCell<Vec<Power>>);
    impl Host for Asked {
        fn has(&self, power: Power) -> bool {
            self.0.borrow_mut().push(power);
            true
        }
    }
    let asked = Asked(Vec::new().into());
    let inline = project(json!({ "jwks": { "inline": jwks() }, "session": null }));
    assert_eq!(accepted(&inline).check_host(&asked), Ok(()));
    assert_eq!(asked.0.take(), [Power::Clock]);
}
