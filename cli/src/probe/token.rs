//! The good token: never printed, in no error, in no `Debug`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use http::HeaderValue;
use thiserror::Error;

/// Why there is no token.
#[derive(Debug, Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("is empty")]
    Empty,
    #[error("is longer than {MAX_BYTES} bytes: a file with nothing but a token is expected")]
    TooLong,
    #[error("has more in it than one token: visible ASCII without a space is expected")]
    NoToken,
}

/// More than the filter takes (`limits.token_bytes`).
const MAX_BYTES: u64 = 65_536;

/// An access token, as the value of `Authorization`.
pub(crate) struct Token(HeaderValue);

impl Token {
    /// Reads a file with a token in it, and nothing else but spaces and line breaks around it.
    pub(crate) fn read(path: &Path) -> Result<Self, TokenError> {
        let mut text = Vec::new();
        let limit = MAX_BYTES.saturating_add(1);
        File::open(path)?.take(limit).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(TokenError::TooLong);
        }
        let text = String::from_utf8(text).map_err(|_| TokenError::NoToken)?;
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NoToken);
        }
        let value = HeaderValue::try_from(format!("Bearer {text}"));
        let mut value = value.map_err(|_| TokenError::NoToken)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The value of `Authorization`.
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Token, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        Token::read(file.path())
    }

    #[test]
    fn a_token_is_what_is_between_spaces() {
        let token = read(b"\n a.b-c.d_e \r\n").unwrap();
        assert_eq!(token.authorization(), "Bearer a.b-c.d_e");
        assert!(!format!("{:?}", token.authorization()).contains("a.b"));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        let long = vec![b'a'; 65_537];
        for content in [
            &b""[..],
            b" \n",
            b"Bearer s3cret",
            b"s3cret\ns3cret",
            b"s3cret\0",
            b"s3cret\xff",
            &long,
        ] {
            let error = read(content).err().expect("no token").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert!(matches!(
            Token::read(Path::new("/")),
            Err(TokenError::Io(_))
        ));
    }
}
