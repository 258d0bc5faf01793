//! Claims of tokens that rules ask for: where they stand, and the values that are compared.

use crate::json::Node;

/// Where a claim stands in the payload of a token: the name of a claim (`tenant`, or a URL), or, where the text begins with a
/// slash, a JSON pointer (RFC 6901) into objects (`/org/id`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath {
    text: Box<str>,
    names: Vec<Box<str>>,
}

impl ClaimPath {
    const MAX_BYTES: usize = 256;
    const MAX_NAMES: usize = 8;

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let names: Vec<Box<str>> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(unescaped).collect::<Option<_>>()?,
            None => vec![text.into()],
        };
        let fits = text.len() <= Self::MAX_BYTES
            && names.len() <= Self::MAX_NAMES
            && names.iter().all(|name| !name.is_empty());
        fits.then(|| Self {
            text: text.into(),
            names,
        })
    }

    /// The name of the top-level claim.
    pub(crate) fn claim(&self) -> &str {
        self.names.first().map_or("", |name| name)
    }

    /// The value below the top-level claim. `Err`: a name on the way is there twice.
    pub(crate) fn find<'n>(&self, claim: &'n Node) -> Result<Option<&'n Node>, SeveralValues> {
        let mut value = claim;
        for name in self.names.iter().skip(1) {
            let Node::Object(members) = value else {
                return Ok(None);
            };
            match only(members, name)? {
                Some(below) => value = below,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }
}

impl std::fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A name of a JSON pointer (RFC 6901 §4).
fn unescaped(name: &str) -> Option<Box<str>> {
    let mut parts = name.split('~');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let rest = match part.strip_prefix('0') {
            Some(rest) => {
                text.push('~');
                rest
            }
            None => {
                text.push('/');
                part.strip_prefix('1')?
            }
        };
        text.push_str(rest);
    }
    Some(text.into())
}

/// A name that is there more than once: readers differ about its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeveralValues;

/// The member of this name.
pub(crate) fn only<'n>(
    members: &'n [(String, Node)],
    name: &str,
) -> Result<Option<&'n Node>, SeveralValues> {
    let mut named = members.iter().filter(|(member, _)| member == name);
    let first = named.next();
    if named.next().is_some() {
        return Err(SeveralValues);
    }
    Ok(first.map(|(_, value)| value))
}

/// A value that can be compared: no two of different types are the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A string.
    Text(Box<str>),
    /// A number that a double represents exactly.
    Number(f64),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    /// Up to here a double represents every whole number.
    const MAX_WHOLE: u64 = (1 << 53) - 1;

    /// `None`: `null`, an array, an object, or a whole number that could be taken for another one.
    pub(crate) fn from_node(node: &Node) -> Option<Self> {
        match node {
            Node::String(text) => Some(Self::Text(text.as_str().into())),
            Node::Bool(value) => Some(Self::Bool(*value)),
            Node::Number(number) => {
                let exact = match (number.as_u64(), number.as_i64()) {
                    (Some(whole), _) => whole <= Self::MAX_WHOLE,
                    (None, Some(negative)) => negative.unsigned_abs() <= Self::MAX_WHOLE,
                    (None, None) => true,
                };
                let value = number.as_f64().filter(|value| exact && value.is_finite());
                // A double that is written with an exponent or a point can be as large.
                let small =
                    |value: &f64| value.fract() != 0.0 || value.abs() <= Self::MAX_WHOLE as f64;
                value.filter(small).map(Self::Number)
            }
            Node::Null | Node::Array(_) | Node::Object(_) => None,
        }
    }
}

/// What a token claims, as far as a rule asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    path: ClaimPath,
    /// The value, or those of an array; `None`: it is not there, or `null`.
    values: Option<Vec<Scalar>>,
}

impl Claim {
    pub(crate) fn new(path: ClaimPath, node: Option<&Node>) -> Self {
        let values = match node {
            None | Some(Node::Null) => None,
            Some(Node::Array(items)) => Some(items.iter().filter_map(Scalar::from_node).collect()),
            Some(one) => Some(Scalar::from_node(one).into_iter().collect()),
        };
        Self { path, values }
    }

    /// Where it stands.
    #[must_use]
    pub fn path(&self) -> &ClaimPath {
        &self.path
    }

    /// Whether it is there, and not `null`.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.values.is_some()
    }

    /// The value, or those of an array.
    #[must_use]
    pub fn values(&self) -> &[Scalar] {
        self.values.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_path_is_a_name_or_a_pointer() {
        for (text, names) in [
            ("tenant", &["tenant"][..]),
            (
                "https://authgear.com/claims/user/roles",
                &["https://authgear.com/claims/user/roles"],
            ),
            ("a~b", &["a~b"]),
            ("/org", &["org"]),
            ("/org/id", &["org", "id"]),
            ("/a~1b/c~0d~01", &["a/b", "c~d~1"]),
        ] {
            let path = ClaimPath::parse(text).unwrap();
            assert_eq!(
                path.names.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
                names
            );
            assert_eq!(path.to_string(), text);
        }
        let long = "x".repeat(ClaimPath::MAX_BYTES + 1);
        for text in [
            "",
            "/",
            "/a/",
            "//a",
            "/a~",
            "/a~2",
            "/1/2/3/4/5/6/7/8/9",
            &long,
        ] {
            assert_eq!(ClaimPath::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_is_found_below_objects_and_only_once() {
        let claim = node(r#"{ "id": { "n": 1 }, "twice": 1, "twice": 2 }"#);
        let at = |text: &str| {
            ClaimPath::parse(text)
                .unwrap()
                .find(&claim)
                .map(|found| found.cloned())
        };
        assert_eq!(at("/org"), Ok(Some(claim.clone())));
        assert_eq!(at("/org/id/n"), Ok(Some(node("1"))));
        assert_eq!(at("/org/id/n/deeper"), Ok(None));
        assert_eq!(at("/org/absent"), Ok(None));
        assert_eq!(at("/org/twice"), Err(SeveralValues));
    }

    #[test]
    fn values_keep_their_type_and_numbers_their_value() {
        let scalar = |json: &str| Scalar::from_node(&node(json));
        assert_eq!(scalar("1"), scalar("1.0"));
        assert_ne!(scalar("1"), scalar("\"1\""));
        assert_ne!(scalar("true"), scalar("\"true\""));
        assert_eq!(scalar("-1.5"), Some(Scalar::Number(-1.5)));
        assert_eq!(
            scalar("9007199254740991"),
            Some(Scalar::Number(9_007_199_254_740_991.0))
        );
        for json in [
            "null",
            "[]",
            "{}",
            "9007199254740992",
            "9007199254740993",
            "-9007199254740993",
            "9007199254740993.0",
            "1e300",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            assert_eq!(scalar(json), None, "{json}");
        }
    }

    #[test]
    fn a_claim_has_one_value_or_those_of_an_array() {
        let claim = |json: &str| Claim::new(ClaimPath::parse("c").unwrap(), Some(&node(json)));
        assert_eq!(claim(r#"["a", 1, null, ["b"], true]"#).values().len(), 3);
        assert_eq!(claim("\"a\"").values(), [Scalar::Text("a".into())]);
        assert!(claim("{}").is_present() && claim("{}").values().is_empty());
        assert!(claim("[]").is_present());
        assert!(!claim("null").is_present());
        assert!(!Claim::new(ClaimPath::parse("c").unwrap(), None).is_present());
    }
}
