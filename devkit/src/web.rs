//! What the pages of demo and fake Authgear share: forms in, HTML out.

use crate::message::CannedResponse;

/// The fields of a query or of a URL-encoded form.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    pub(crate) fn parse(text: &str) -> Self {
        Self(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(field, _)| field == name)?;
        Some(&field.1)
    }
}

/// A value for a query, every byte that could mean something escaped.
pub(crate) fn encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Text as HTML shows it, in an attribute too.
pub(crate) fn escape(text: &str) -> String {
    html_escape::encode_quoted_attribute(text).into_owned()
}

/// A whole page; `body` is HTML, `title` is text. Nothing is loaded from anywhere, and no script runs.
pub(crate) fn page(title: &str, body: &str) -> CannedResponse {
    let title = escape(title);
    CannedResponse::html(format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main></body></html>\n"
    ))
    .header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
    .header("cache-control", "no-store")
    .header("referrer-policy", "no-referrer")
    .header("x-content-type-options", "nosniff")
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#2563eb}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;padding:2rem 1rem}\
main{max-width:46rem;margin:0 auto}\
h1{font-size:1.6rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}\
.card{border:1px solid var(--line);border-radius:.6rem;padding:1rem 1.2rem;margin:1rem 0;background:var(--soft)}\
.who{font-size:1.2rem;font-weight:600}\
table{border-collapse:collapse;width:100%}\
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line)}\
td:first-child{white-space:nowrap}\
code,pre{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}\
pre{white-space:pre-wrap;border:1px solid var(--line);border-radius:.4rem;padding:.8rem;user-select:all}\
button,.button{font:inherit;color:#fff;background:var(--accent);border:0;border-radius:.4rem;padding:.45rem 1rem;\
cursor:pointer;text-decoration:none;display:inline-block;margin:.2rem .4rem .2rem 0}\
.quiet{opacity:.7}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_comes_back_as_it_was_written() {
        let value = "http://localhost:10000/a?b=c d&e=\u{e9}%";
        let form = Form::parse(&format!("return={}&user=a+b", encode(value)));
        assert_eq!(
            (form.get("return"), form.get("user")),
            (Some(value), Some("a b"))
        );
        assert_eq!(Form::parse("a=%zz%4").get("a"), Some("%zz%4"));
    }

    #[test]
    fn html_is_shown_and_not_run() {
        assert_eq!(
            escape("<a href=\"x\">'&"),
            "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;"
        );
    }
}
