//! What is refused before the XML is parsed: parsing it would take memory or time out of all
//! proportion to the file.

use std::borrow::Cow;

use super::NetcfgError;

/// The largest file. A subscription had at most 100 VNets.
pub const MAX_BYTES: usize = 2 << 20;

/// The deepest nesting; the format has 8 levels. The parser copies the namespaces that are known to
/// every element below.
pub(super) const MAX_DEPTH: u32 = 32;

/// The most attributes of an element: the parser compares all with all.
pub(super) const MAX_ATTRIBUTES: usize = 128;

/// The text of a file in UTF-8, or in UTF-16 with a mark, as PowerShell saves it.
pub(super) fn decode(file: &[u8]) -> Result<Cow<'_, str>, NetcfgError> {
    if file.len() > MAX_BYTES {
        return Err(NetcfgError::TooLarge(file.len()));
    }
    let from_utf16 = |unit: fn([u8; 2]) -> u16, file: &[u8]| {
        let (units, rest) = file.as_chunks::<2>();
        let units = units.iter().map(|bytes| unit(*bytes));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.ok().filter(|_| rest.is_empty()).map(Cow::Owned)
    };
    let text = match file {
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(Cow::Borrowed),
        [0xff, 0xfe, rest @ ..] => from_utf16(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => from_utf16(u16::from_be_bytes, rest),
        _ => std::str::from_utf8(file).ok().map(Cow::Borrowed),
    };
    text.ok_or(NetcfgError::Encoding)
}

/// Counts depth and attributes, without an opinion on what is not well-formed.
pub(super) fn check(text: &str) -> Result<(), NetcfgError> {
    let mut depth = 0_u32;
    let mut rest = text;
    let line = |rest: &str| {
        let read = &text.as_bytes()[..text.len() - rest.len()];
        let newlines = read.iter().filter(|byte| **byte == b'\n').count();
        u32::try_from(newlines + 1).unwrap_or(u32::MAX)
    };
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let skipped = [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")];
        let found = skipped
            .iter()
            .find(|(begin, _)| rest.starts_with(begin))
            .map(|(_, end)| *end);
        if let Some(end) = found {
            // Without an end there is nothing left that the parser takes.
            let Some(at) = rest.find(end) else {
                return Ok(());
            };
            rest = &rest[at + end.len()..];
            continue;
        }
        if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
            continue;
        }
        let tag = tag(rest);
        if tag.matches('=').count() > MAX_ATTRIBUTES {
            return Err(NetcfgError::TooManyAttributes(line(rest)));
        }
        if !tag.ends_with('/') {
            depth += 1;
        }
        if depth > MAX_DEPTH {
            return Err(NetcfgError::TooDeep(line(rest)));
        }
        rest = &rest[tag.len()..];
    }
    Ok(())
}

/// What is between `<` and the `>` that is in no attribute's value.
fn tag(rest: &str) -> &str {
    let mut quote = None;
    let end = rest.bytes().position(|byte| match (quote, byte) {
        (None, b'>' | b'<') => true,
        (None, b'"' | b'\'') => {
            quote = Some(byte);
            false
        }
        (Some(open), byte) if byte == open => {
            quote = None;
            false
        }
        _ => false,
    });
    &rest[..end.unwrap_or(rest.len())]
}
