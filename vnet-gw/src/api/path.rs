//! The path of a URL: its segments, decoded, with everything that two readers could take for
//! different things refused.

use percent_encoding::percent_decode_str;

use super::Refusal;

/// The segments of a path, decoded. None is empty, `.` or `..`, or holds a slash, a backslash or a
/// control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    segments: Vec<String>,
    lower: Vec<String>,
}

/// The most segments that anything served here has is 15.
const MOST_SEGMENTS: usize = 24;
/// Of one segment, decoded. Azure's longest name has 80 characters.
const LONGEST_SEGMENT: usize = 260;

impl Path {
    /// From the path as it came, still encoded.
    ///
    /// Empty segments do not count, as in Azure: `az resource show` writes
    /// `Microsoft.Network//virtualNetworks`.
    ///
    /// # Errors
    ///
    /// `InvalidRequestUri`
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let wrong = |why: &str| {
            Refusal::bad(
                "InvalidRequestUri",
                format!("The path of the request cannot be read: {why}."),
            )
        };
        let rest = raw
            .strip_prefix('/')
            .ok_or_else(|| wrong("it begins without a slash"))?;
        let mut path = Self {
            segments: Vec::new(),
            lower: Vec::new(),
        };
        for part in rest.split('/').filter(|part| !part.is_empty()) {
            if !is_encoded_right(part) {
                return Err(wrong("a percent sign is not followed by two digits"));
            }
            let decoded = percent_decode_str(part)
                .decode_utf8()
                .map_err(|_| wrong("a segment is not UTF-8"))?;
            if decoded == "." || decoded == ".." {
                return Err(wrong("a segment is '.' or '..'"));
            }
            if decoded
                .chars()
                .any(|c| c == '/' || c == '\\' || c.is_control())
            {
                return Err(wrong(
                    "a segment holds a slash, a backslash or a control character",
                ));
            }
            if decoded.len() > LONGEST_SEGMENT || path.segments.len() == MOST_SEGMENTS {
                return Err(wrong("it is too long"));
            }
            path.lower.push(decoded.to_ascii_lowercase());
            path.segments.push(decoded.into_owned());
        }
        Ok(path)
    }

    /// As written.
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// In lower case: what fixed words are compared with.
    pub fn lower(&self) -> Vec<&str> {
        self.lower.iter().map(String::as_str).collect()
    }
}

/// The path as an id: `/a/b`, or `/` where it has no segments.
impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        for segment in &self.segments {
            write!(f, "/{segment}")?;
        }
        Ok(())
    }
}

fn is_encoded_right(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next(), bytes.next()];
            if !digits
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            {
                return false;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_decoded() {
        let path = Path::parse("/subscriptions/S/resourceGroups/my%20Group/").unwrap();
        assert_eq!(
            path.segments(),
            ["subscriptions", "S", "resourceGroups", "my Group"]
        );
        assert_eq!(path.lower()[2], "resourcegroups");
        assert_eq!(path.to_string(), "/subscriptions/S/resourceGroups/my Group");
        assert_eq!(Path::parse("/").unwrap().to_string(), "/");
    }

    #[test]
    fn empty_segments_do_not_count() {
        let path = Path::parse("//a/providers/Microsoft.Network//virtualNetworks/v//").unwrap();
        assert_eq!(
            path.to_string(),
            "/a/providers/Microsoft.Network/virtualNetworks/v"
        );
    }

    #[test]
    fn tricks_are_refused() {
        for raw in [
            "",
            "a",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a/./b",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a%0ab",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%ff",
            "/a%c3%28",
            &"/a".repeat(25),
            &format!("/{}", "a".repeat(261)),
        ] {
            let refusal = Path::parse(raw).unwrap_err();
            assert_eq!(
                (refusal.status.as_u16(), refusal.error.code.as_str()),
                (400, "InvalidRequestUri"),
                "{raw}"
            );
        }
    }
}
