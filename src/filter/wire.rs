//! The form in which header maps pass between host and module: the number of pairs, the lengths of each, then names and values,
//! each with a NUL behind it; numbers in 32 bits, little-endian.

use gate::credential::Headers;

/// A header map in the bytes that the host gave.
#[derive(Debug, Default)]
pub(super) struct HeaderMap(Vec<u8>);

impl HeaderMap {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its lines. `None`: the bytes are no header map.
    pub(super) fn lines(&self) -> Option<Vec<(&[u8], &[u8])>> {
        if self.0.is_empty() {
            return Some(Vec::new());
        }
        let (count, rest) = number(&self.0)?;
        let (mut lengths, mut text) = rest.split_at_checked(count.checked_mul(8)?)?;
        let mut lines = Vec::with_capacity(count);
        while !lengths.is_empty() {
            let (name_length, value_length);
            (name_length, lengths) = number(lengths)?;
            (value_length, lengths) = number(lengths)?;
            let (name, value);
            (name, text) = terminated(text, name_length)?;
            (value, text) = terminated(text, value_length)?;
            lines.push((name, value));
        }
        text.is_empty().then_some(lines)
    }
}

/// A header map for the host.
pub(super) fn serialize(headers: &Headers<'_>) -> Vec<u8> {
    let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
    let text = headers
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()));
    // Two lengths of four bytes and two NULs a line.
    let size = text.fold(4_usize, |size, text| {
        size.saturating_add(text).saturating_add(10)
    });
    let mut wire = Vec::with_capacity(size);
    wire.extend_from_slice(&count.to_le_bytes());
    for (name, value) in headers {
        wire.extend_from_slice(&length(name));
        wire.extend_from_slice(&length(value));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        wire.extend_from_slice(text);
        wire.push(0);
    }
    wire
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn terminated(bytes: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(length)?;
    let (nul, rest) = rest.split_first()?;
    (*nul == 0).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [(&[u8], &[u8]); 3] = [
        (b":path", b"/"),
        (b"x", b""),
        (b"cookie", b"a=\0\xff; session=b"),
    ];

    #[test]
    fn a_header_map_is_lengths_first() {
        let wire = serialize(&[(b"a", b"bc"), (b"d", b"")]);
        let expected = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0d\0\0";
        assert_eq!(wire, expected);
    }

    #[test]
    fn what_is_written_is_read() {
        for count in 0..=LINES.len() {
            let map = HeaderMap::new(serialize(&LINES[..count]));
            assert_eq!(map.lines().unwrap(), LINES[..count]);
        }
        assert_eq!(HeaderMap::default().lines(), Some(Vec::new()));
    }

    #[test]
    fn bytes_that_are_cut_off_or_changed_are_no_header_map() {
        let wire = serialize(&LINES);
        for length in 1..wire.len() {
            assert_eq!(HeaderMap::new(wire[..length].to_vec()).lines(), None);
        }
        let longer = [&wire[..], b"\0"].concat();
        assert_eq!(HeaderMap::new(longer).lines(), None);
        for place in 0..4 + 3 * 8 {
            for byte in [1, 7, 0x7f, 0xff] {
                let mut wire = wire.clone();
                if std::mem::replace(&mut wire[place], byte) != byte {
                    assert_eq!(HeaderMap::new(wire).lines(), None, "{place} {byte}");
                }
            }
        }
    }
}
