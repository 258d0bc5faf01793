//! What is sent: the same browser's request, with another credential each time.

use std::num::NonZeroUsize;
use std::thread;

use crate::keys::{SigningKey, Token, User, random_alphanumeric, random_uuid};
use crate::testbed::ORIGIN;

/// Answered by Envoy itself, with 200.
pub(super) const ANSWERED: &str = "/api/orders/4711?view=full";
/// Forwarded to the backend.
pub(super) const FORWARDED: &str = "/upstream/orders/4711?view=full";

/// Whole requests in bytes.
pub(super) type Requests = Vec<Vec<u8>>;

/// One request with each of these tokens in `Authorization`.
pub(super) fn with_tokens<T: AsRef<str>>(target: &str, tokens: &[T]) -> Requests {
    let with = |token: &T| request(target, "", Some(token.as_ref()));
    tokens.iter().map(with).collect()
}

/// One request with each of these session cookies.
pub(super) fn with_sessions<T: AsRef<str>>(target: &str, sessions: &[T]) -> Requests {
    let with = |session: &T| request(target, &format!("; session={}", session.as_ref()), None);
    sessions.iter().map(with).collect()
}

/// A request without any credential.
pub(super) fn without_credential(target: &str) -> Requests {
    vec![request(target, "", None)]
}

fn request(target: &str, cookie: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    format!(
        "GET {target} HTTP/1.1\r\n\
         host: app.example.com\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         accept: application/json, text/plain, */*\r\n\
         accept-language: en-GB,en;q=0.7,de;q=0.3\r\n\
         accept-encoding: gzip, deflate, br, zstd\r\n\
         referer: https://app.example.com/orders?page=2\r\n\
         sec-fetch-dest: empty\r\n\
         sec-fetch-mode: cors\r\n\
         sec-fetch-site: same-origin\r\n\
         cookie: theme=dark; _ga=GA1.2.1385729410.1767225600{cookie}\r\n\
         {authorization}\r\n"
    )
    .into_bytes()
}

/// So many different access tokens, as Authgear issues them; signing is shared among the cores.
pub(super) fn sign_tokens(count: usize, user: &User, key: &SigningKey) -> Vec<String> {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let sign = |_| Token::user(ORIGIN, user).expires_in(86_400).sign(key);
    thread::scope(|scope| {
        let share = |core| (core..count).step_by(cores).map(sign).collect::<Vec<_>>();
        let threads: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || share(core)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("signing does not panic"))
            .collect()
    })
}

/// So many different session tokens, as they look in Authgear's cookie.
pub(super) fn sessions(count: usize) -> Vec<String> {
    let session = |_| format!("{}.{}", random_uuid(), random_alphanumeric(32));
    (0..count).map(session).collect()
}
