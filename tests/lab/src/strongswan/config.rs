//! Connections as types, and as swanctl.conf says them.

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use anyhow::{Result, ensure};

/// A connection: one IKE SA and its CHILD SAs.
#[derive(Clone, Debug)]
pub struct Connection {
    pub name: String,
    pub local: IpAddr,
    /// `None`: whoever calls.
    pub remote: Option<IpAddr>,
    /// As swanctl writes them (`aes256-sha256-modp2048`); empty: strongSwan's own.
    pub proposals: Vec<String>,
    /// Its identity; `None`: its address.
    pub local_id: Option<String>,
    /// The identity the peer must show; `None`: any.
    pub remote_id: Option<String>,
    /// The shared key.
    pub key: String,
    /// Of the IKE SA; `None`: never.
    pub rekey: Option<Duration>,
    pub fragmentation: Fragmentation,
    /// Pretend to be behind a NAT.
    pub encap: bool,
    pub dpd: Option<Duration>,
    pub children: Vec<Child>,
}

/// RFC 7383.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragmentation {
    #[default]
    Yes,
    No,
    /// Messages are cut from the first one on, whatever their size.
    Force,
}

/// A CHILD SA in tunnel mode.
#[derive(Clone, Debug)]
pub struct Child {
    pub name: String,
    /// `aes256gcm16`, `aes256-sha256-ecp256`; empty: strongSwan's own.
    pub proposals: Vec<String>,
    /// What is behind it, in prefixes.
    pub local: Vec<String>,
    /// What is behind the peer.
    pub remote: Vec<String>,
    /// `None`: never.
    pub rekey: Option<Duration>,
    /// `None`: no limit.
    pub rekey_bytes: Option<u64>,
    /// Made when the connection is loaded, and again when the peer goes away.
    pub start: bool,
}

impl Connection {
    /// strongSwan's proposals, no rekey, no liveness checks, no children.
    pub fn new(name: &str, local: IpAddr, remote: IpAddr, key: &str) -> Self {
        Self {
            name: name.to_owned(),
            local,
            remote: Some(remote),
            proposals: Vec::new(),
            local_id: None,
            remote_id: None,
            key: key.to_owned(),
            rekey: None,
            fragmentation: Fragmentation::Yes,
            encap: false,
            dpd: None,
            children: Vec::new(),
        }
    }

    /// With one child more.
    pub fn child(mut self, child: Child) -> Self {
        self.children.push(child);
        self
    }
}

impl Child {
    /// strongSwan's proposals, no rekey.
    pub fn new(name: &str, local: &[&str], remote: &[&str]) -> Self {
        let list = |prefixes: &[&str]| prefixes.iter().map(|&one| one.to_owned()).collect();
        Self {
            name: name.to_owned(),
            proposals: Vec::new(),
            local: list(local),
            remote: list(remote),
            rekey: None,
            rekey_bytes: None,
            start: false,
        }
    }
}

/// swanctl.conf with these connections and their keys.
pub(super) fn swanctl(connections: &[Connection]) -> Result<String> {
    let mut out = String::from("connections {\n");
    for connection in connections {
        section(&mut out, connection)?;
    }
    out.push_str("}\nsecrets {\n");
    for connection in connections {
        // In hexadecimal, so that no character of a key means something here.
        let key: String = connection
            .key
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(out, "  ike-{} {{\n    secret = 0x{key}", connection.name)?;
        // Found by its owners: ours always, since a peer that may show any identity has none here.
        let ours = connection.local_id.clone();
        let ours = ours.unwrap_or(connection.local.to_string());
        writeln!(out, "    id-ours = {ours}")?;
        let theirs = connection.remote_id.clone();
        if let Some(theirs) = theirs.or(connection.remote.map(|address| address.to_string())) {
            writeln!(out, "    id-theirs = {theirs}")?;
        }
        out.push_str("  }\n");
    }
    out.push_str("}\n");
    Ok(out)
}

fn section(out: &mut String, connection: &Connection) -> Result<()> {
    plain(&connection.name)?;
    let remote = connection.remote;
    let remote = remote.map_or("%any".to_owned(), |address| address.to_string());
    let fragmentation = match connection.fragmentation {
        Fragmentation::Yes => "yes",
        Fragmentation::No => "no",
        Fragmentation::Force => "force",
    };
    writeln!(out, "  {} {{", connection.name)?;
    writeln!(out, "    version = 2")?;
    writeln!(out, "    local_addrs = {}", connection.local)?;
    writeln!(out, "    remote_addrs = {remote}")?;
    writeln!(out, "    mobike = no")?;
    writeln!(out, "    reauth_time = 0")?;
    writeln!(out, "    rekey_time = {}", time(connection.rekey))?;
    // strongSwan takes a random part of this off; tests want to know when.
    writeln!(out, "    rand_time = 0")?;
    writeln!(out, "    fragmentation = {fragmentation}")?;
    writeln!(out, "    encap = {}", yes(connection.encap))?;
    writeln!(out, "    dpd_delay = {}", time(connection.dpd))?;
    if !connection.proposals.is_empty() {
        writeln!(out, "    proposals = {}", connection.proposals.join(","))?;
    }
    for (side, id) in [
        ("local", &connection.local_id),
        ("remote", &connection.remote_id),
    ] {
        writeln!(out, "    {side} {{\n      auth = psk")?;
        if let Some(id) = id {
            writeln!(out, "      id = {id}")?;
        }
        writeln!(out, "    }}")?;
    }
    writeln!(out, "    children {{")?;
    for child in &connection.children {
        plain(&child.name)?;
        writeln!(out, "      {} {{", child.name)?;
        writeln!(out, "        mode = tunnel")?;
        writeln!(out, "        local_ts = {}", child.local.join(","))?;
        writeln!(out, "        remote_ts = {}", child.remote.join(","))?;
        if !child.proposals.is_empty() {
            writeln!(out, "        esp_proposals = {}", child.proposals.join(","))?;
        }
        writeln!(out, "        rekey_time = {}", time(child.rekey))?;
        writeln!(out, "        rand_time = 0")?;
        writeln!(
            out,
            "        rekey_bytes = {}",
            child.rekey_bytes.unwrap_or(0)
        )?;
        writeln!(out, "        rand_bytes = 0")?;
        if child.start {
            writeln!(out, "        start_action = start")?;
            writeln!(out, "        close_action = start")?;
            writeln!(out, "        dpd_action = restart")?;
        }
        writeln!(out, "      }}")?;
    }
    writeln!(out, "    }}\n  }}")?;
    Ok(())
}

fn plain(name: &str) -> Result<()> {
    ensure!(
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'),
        "{name:?} is no name for a connection: letters, digits and '-' only"
    );
    Ok(())
}

fn time(time: Option<Duration>) -> String {
    format!("{}s", time.unwrap_or_default().as_secs())
}

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}
