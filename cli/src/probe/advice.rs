//! What an operator can do about a finding.

use super::client::ClientError;
use super::plan::{Forgery, Kind};

/// Lines of text.
pub(crate) type Advice = &'static str;

pub(crate) fn open(kind: &Kind) -> Advice {
    match kind {
        Kind::Forged(Forgery::Underscores) => {
            "A header with `_` gets a request through that is refused without it. Set\n\
             headers_with_underscores_action to DROP_HEADER, and look for a route or a filter that matches it."
        }
        Kind::Forged(_) => {
            "Identity headers of the client's decide about a route. Remove the family before routes are\n\
             chosen: docs/operations.md, \"A policy for each route\"."
        }
        Kind::Spelling(_) => {
            "This spelling of the path gets past what guards the plain one. Look for a route, or a rule, that\n\
             matches it: is its filter off there, does it ask for `none`? normalize_path and merge_slashes\n\
             make Envoy clean paths first: docs/behaviour.md, \"Paths\"."
        }
        Kind::Unsigned | Kind::Cookie => {
            "What proves nothing is taken for a credential. Who verifies it? It is not this filter."
        }
        Kind::NoCredential | Kind::Token | Kind::TokenAndForged => {
            "Is the filter in the chain of this listener, and on for this route? Is it open after a fault\n\
             (failure_policy: FAIL_OPEN, fail_open, failOpen)? Envoy's log says whether it was loaded. Does a\n\
             rule, or `default`, ask for `none` or `optional` here? If the rule is for this very path and\n\
             none below it: --exact."
        }
    }
}

pub(crate) fn of_refusal(kind: &Kind, code: &str) -> Option<Advice> {
    Some(match code {
        "invalid_request" if *kind == Kind::NoCredential => {
            "Shut, but by the spelling of the host or the path alone: is the URL as clients write it?"
        }
        "unavailable" => {
            "Shut, but for everybody: docs/guides/unavailable.md says how to find out why."
        }
        "misdirected_request" => {
            "Shut, but by the host alone: does `hosts` of a project have it? Is the URL's host the one that\n\
             clients use? --header 'host: ...' sends another."
        }
        _ => return None,
    })
}

pub(crate) fn refused_by_somebody_else(kind: &Kind) -> Advice {
    match kind {
        Kind::Spelling(_) | Kind::Forged(_) => {
            "Something before the filter, or the backend behind it, refuses this request. If it is Envoy\n\
             itself (a 400 without a word) or a firewall, this request is shut by it. If it is the backend,\n\
             the request got through to it. The access logs of both tell."
        }
        _ => {
            "A proxy or firewall before the filter answered, or the backend behind it: then the request got\n\
             through to it. Envoy's access log tells: %RESPONSE_CODE_DETAILS% is authgear_filter{...} where\n\
             the filter answered, via_upstream where the backend did."
        }
    }
}

pub(crate) fn body_is_not_the_filters() -> Advice {
    "Does local_reply_config (body_format), or a proxy before Envoy, rewrite the filter's answers? Or is\n\
     it the backend's challenge? Envoy's access log tells: %RESPONSE_CODE_DETAILS%."
}

pub(crate) fn redirected() -> Advice {
    "Probe what it leads to: the https URL, or the path as it should be spelt."
}

pub(crate) fn failed() -> Advice {
    "Envoy, another proxy or the backend failed. Try again when it is well: with the backend down, a gate\n\
     that is open looks so, too."
}

pub(crate) fn token_refused(code: &str) -> Advice {
    match code {
        "forbidden" | "insufficient_scope" | "insufficient_user_authentication" => {
            "The token is valid, but its owner may not do this here (`allow`, or a machine's token where a\n\
             user's is asked for). Take one of somebody who may: docs/guides/access.md."
        }
        "unavailable" => "The filter has no keys, or no resolver: docs/guides/unavailable.md.",
        _ => {
            "Is it expired, of another project, or for another audience? docs/guides/refused.md says how to\n\
             find out why it is refused."
        }
    }
}

pub(crate) fn token_refused_by_somebody_else() -> Advice {
    "The backend may refuse its owner, or a path that does not exist: take a token of somebody who may, or\n\
     a path that does (--exact)."
}

pub(crate) fn no_echo() -> Advice {
    "--echo needs a backend that answers 200 with JSON that has its request's `headers`, as the demo\n\
     application does at /api/me (with --exact)."
}

pub(crate) fn headers_missing() -> Advice {
    "Something between the filter and the backend removes identity headers, or adds them otherwise."
}

pub(crate) fn headers_arrived() -> Advice {
    "The backend gets identity headers that the filter did not write. Does a filter, or a route, behind\n\
     the filter add them? Is the filter on for this route?"
}

pub(crate) fn not_asked(error: &ClientError) -> Advice {
    match error {
        ClientError::Name(_) => "Is the host spelt right, and does this machine know the name?",
        ClientError::Connect(_) => "Does something listen there, and may this machine reach it?",
        ClientError::Tls(_) => {
            "Is the certificate of a private authority? Name it with --ca-file. Verification cannot be\n\
             switched off."
        }
        ClientError::Http(_) => {
            "Is it an HTTP/1.1 listener, with TLS where the URL is https? Perhaps something refuses this\n\
             request by closing."
        }
        ClientError::Timeout(_) => "Is it slow? --timeout gives it more time.",
    }
}
