//! What `swanctl --list-sas --raw` prints.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

/// An IKE SA of strongSwan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeSa {
    /// The connection's.
    pub name: String,
    pub id: u64,
    /// `ESTABLISHED`, `CONNECTING`, …
    pub state: String,
    pub initiator: bool,
    pub remote_id: String,
    pub remote_host: String,
    pub remote_port: u16,
    /// `AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048`, as far as it has them.
    pub suite: String,
    pub nat: bool,
    pub children: Vec<ChildSa>,
}

/// A CHILD SA of strongSwan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSa {
    pub name: String,
    pub id: u64,
    /// `INSTALLED`, `REKEYED`, …
    pub state: String,
    pub encap: bool,
    pub suite: String,
    pub spi_in: String,
    pub spi_out: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub local: Vec<String>,
    pub remote: Vec<String>,
}

impl IkeSa {
    pub fn is_established(&self) -> bool {
        self.state == "ESTABLISHED"
    }

    /// The CHILD SAs that carry traffic.
    pub fn installed(&self) -> impl Iterator<Item = &ChildSa> {
        self.children
            .iter()
            .filter(|child| child.state == "INSTALLED")
    }
}

/// Each line is `list-sa event {NAME {key=value … child-sas {NAME {…}}}}`, the last one
/// `list-sas reply {}`.
pub(super) fn parse(text: &str) -> Result<Vec<IkeSa>> {
    let mut out = Vec::new();
    for line in text.lines() {
        let Some(body) = line.trim().strip_prefix("list-sa event ") else {
            continue;
        };
        let value = section(&mut Words::new(body)?)
            .with_context(|| format!("reading what swanctl printed: {line}"))?;
        for (name, sa) in &value {
            out.push(ike(name, sa)?);
        }
    }
    Ok(out)
}

fn ike(name: &str, sa: &Value) -> Result<IkeSa> {
    let children = sa["child-sas"].as_object().into_iter().flatten();
    Ok(IkeSa {
        name: name.to_owned(),
        id: number(sa, "uniqueid"),
        state: word(sa, "state"),
        initiator: word(sa, "initiator") == "yes",
        remote_id: word(sa, "remote-id"),
        remote_host: word(sa, "remote-host"),
        remote_port: u16::try_from(number(sa, "remote-port")).context("a port above 65535")?,
        suite: suite(sa, &["prf-alg", "dh-group"]),
        nat: ["nat-local", "nat-remote", "nat-any", "nat-fake"]
            .iter()
            .any(|key| word(sa, key) == "yes"),
        children: children.map(|(_, child)| child_sa(child)).collect(),
    })
}

fn child_sa(child: &Value) -> ChildSa {
    let list = |key: &str| {
        let items = child[key].as_array().into_iter().flatten();
        items
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    ChildSa {
        name: word(child, "name"),
        id: number(child, "uniqueid"),
        state: word(child, "state"),
        encap: word(child, "encap") == "yes",
        suite: suite(child, &["dh-group", "esn"]),
        spi_in: word(child, "spi-in"),
        spi_out: word(child, "spi-out"),
        bytes_in: number(child, "bytes-in"),
        bytes_out: number(child, "bytes-out"),
        local: list("local-ts"),
        remote: list("remote-ts"),
    }
}

/// Encryption with its key size, integrity, and more where they are.
fn suite(sa: &Value, more: &[&str]) -> String {
    let mut parts = vec![word(sa, "encr-alg")];
    let bits = word(sa, "encr-keysize");
    if !bits.is_empty()
        && let Some(first) = parts.first_mut()
    {
        *first = format!("{first}-{bits}");
    }
    parts.push(word(sa, "integ-alg"));
    parts.extend(more.iter().map(|key| word(sa, key)));
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

fn word(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// The words of a line; brackets stand alone.
struct Words<'a> {
    words: std::vec::IntoIter<&'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Result<Self> {
        let mut words = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                c if c.is_ascii_whitespace() => {
                    rest = &rest[1..];
                    continue;
                }
                '{' | '}' | '[' | ']' => 1,
                // A value may hold brackets of its own, as `fe80::1[4500]` or `dynamic[udp/5]` do.
                _ => rest
                    .find(|c: char| c.is_ascii_whitespace() || matches!(c, '{' | '}'))
                    .unwrap_or(rest.len()),
            };
            let (word, after) = rest.split_at(length);
            // `key=[` opens a list.
            match word.split_once('=') {
                Some((key, list)) if list.starts_with('[') => {
                    words.push(&word[..=key.len()]);
                    words.push("[");
                    rest = &rest[key.len() + 2..];
                }
                _ => {
                    // The last item of a list ends with its bracket, as long as it has not opened
                    // that itself.
                    let closes = word.len() > 1
                        && word.ends_with(']')
                        && word.matches(']').count() > word.matches('[').count();
                    if closes {
                        words.push(&word[..word.len() - 1]);
                        words.push("]");
                    } else {
                        words.push(word);
                    }
                    rest = after;
                }
            }
        }
        Ok(Self {
            words: words.into_iter(),
        })
    }
}

/// `{ key=value key=[ a b ] name { … } }`
fn section(words: &mut Words) -> Result<Map<String, Value>> {
    if words.words.next() != Some("{") {
        bail!("no opening brace");
    }
    body(words)
}

fn body(words: &mut Words) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    loop {
        let word = words.words.next().context("it ends too soon")?;
        match word.split_once('=') {
            _ if word == "}" => return Ok(out),
            Some((key, "")) if words.words.as_slice().first() == Some(&"[") => {
                words.words.next();
                let items = words.words.by_ref().take_while(|&item| item != "]");
                out.insert(key.to_owned(), items.collect());
            }
            Some((key, value)) => {
                out.insert(key.to_owned(), value.into());
            }
            None if words.words.as_slice().first() == Some(&"{") => {
                words.words.next();
                out.insert(word.to_owned(), Value::Object(body(words)?));
            }
            // The rest of a value with a space in it, such as a distinguished name.
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_swanctl() {
        let line = "list-sa event {gw {uniqueid=1 version=2 state=ESTABLISHED local-host=203.0.113.1 \
            remote-host=203.0.113.2 remote-port=4500 remote-id=C=CH, O=x initiator=yes nat-any=yes \
            encr-alg=AES_CBC encr-keysize=256 integ-alg=HMAC_SHA2_256_128 prf-alg=PRF_HMAC_SHA2_256 \
            dh-group=MODP_2048 tasks-queued=[CHILD_REKEY] child-sas {net-1 {name=net uniqueid=1 \
            state=INSTALLED mode=TUNNEL encap=yes spi-in=c1 spi-out=c2 encr-alg=AES_GCM_16 \
            encr-keysize=128 bytes-in=84 local-ts=[10.1.0.0/16 fd00:1::/48] remote-ts=[10.2.0.0/16]}}}}\n\
            list-sas reply {}\n";
        let sas = parse(line).unwrap();
        assert_eq!(sas.len(), 1);
        let sa = &sas[0];
        assert!(sa.is_established() && sa.initiator && sa.nat);
        assert_eq!(sa.remote_port, 4500);
        assert_eq!(
            sa.suite,
            "AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048"
        );
        let child = sa.installed().next().unwrap();
        assert_eq!(child.suite, "AES_GCM_16-128");
        assert_eq!(child.local, ["10.1.0.0/16", "fd00:1::/48"]);
        assert_eq!(child.remote, ["10.2.0.0/16"]);
        assert_eq!(child.bytes_in, 84);
    }

    #[test]
    fn no_sas() {
        assert_eq!(parse("list-sas reply {}\n").unwrap(), []);
    }
}
