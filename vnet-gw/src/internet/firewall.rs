//! The nftables table in the kernel, and the connections it tracks.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::{Command, Output, Stdio},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkBuffer};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use vnet_gw_common::internet::{SCOPE_MASK, host_mac, mark};

use super::{InternetError, pair::Names, ruleset::ruleset};
use crate::io::rtnl::{attribute, find};

const HEADER: usize = 16;
/// `struct nfgenmsg`
const NFGEN: usize = 4;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`
const GET_GENERATION: u16 = 10 << 8 | 16;
const NFTA_GEN_ID: u16 = 1;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE`
const DELETE_CONNECTIONS: u16 = 1 << 8 | 2;
const CTA_MARK: u16 = 8;
const CTA_MARK_MASK: u16 = 21;

#[derive(Debug)]
pub(super) struct Firewall {
    names: Names,
    held: Option<Held>,
}

/// What was put there.
#[derive(Debug)]
struct Held {
    slot: u32,
    scopes: BTreeSet<u32>,
    /// As `nft` lists it.
    listed: String,
    /// Of all tables of the namespace, when it was last known to be so.
    generation: Option<u32>,
}

impl Firewall {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            names: names.clone(),
            held: None,
        }
    }

    pub(super) fn slot(&self) -> Option<u32> {
        self.held.as_ref().map(|held| held.slot)
    }

    /// Whether this daemon has put its table there.
    pub(super) fn seen(&self) -> bool {
        self.held.is_some()
    }

    /// Puts the table there where it is not, or not so. Connections that are tracked go on. Whether
    /// somebody else had changed it.
    pub(super) fn ensure(
        &mut self,
        slot: u32,
        scopes: &BTreeSet<u32>,
    ) -> Result<bool, InternetError> {
        let mut changed = false;
        if let Some(held) = &mut self.held
            && held.slot == slot
            && held.scopes == *scopes
        {
            let generation = generation().ok();
            if generation.is_some() && generation == held.generation {
                return Ok(false);
            }
            if list(&self.names)? == held.listed {
                held.generation = generation;
                return Ok(false);
            }
            changed = true;
        }
        nft(
            &self.names,
            &["-f", "-"],
            &ruleset(&self.names, slot, scopes),
        )?;
        // Before the list: what comes between is found next time.
        let generation = generation().ok();
        self.held = Some(Held {
            slot,
            scopes: scopes.clone(),
            listed: list(&self.names)?,
            generation,
        });
        Ok(changed)
    }
}

/// Whether there is an `nft` to ask.
pub(super) fn present() -> Result<(), InternetError> {
    let asked = Command::new("nft")
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match asked {
        Ok(_) => Ok(()),
        Err(_) => Err(InternetError::NoNft),
    }
}

pub(super) fn remove(names: &Names) -> Result<(), InternetError> {
    let table = &names.table;
    // Added before, so that it is no error where there is none.
    let text = format!("add table inet {table}\ndelete table inet {table}\n");
    nft(names, &["-f", "-"], &text).map(drop)
}

/// Without counters.
fn list(names: &Names) -> Result<String, InternetError> {
    match nft(names, &["-s", "list", "table", "inet", &names.table], "") {
        // It is gone.
        Err(InternetError::Nft { .. }) => Ok(String::new()),
        listed => listed,
    }
}

fn nft(names: &Names, arguments: &[&str], input: &str) -> Result<String, InternetError> {
    let run = || -> io::Result<Output> {
        let mut child = Command::new("nft")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may have ended before it read all, and says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    };
    let output = match run() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(InternetError::NoNft),
        output => output.map_err(InternetError::at("running nft"))?,
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(InternetError::Nft {
        table: names.table.clone(),
        why: said.lines().next().unwrap_or("no reason given").to_owned(),
    })
}

/// The number of the transaction that nftables last saw, in this namespace.
fn generation() -> io::Result<u32> {
    let answer = netfilter(GET_GENERATION, 0, &[])?;
    let attributes = answer.get(HEADER + NFGEN..).unwrap_or_default();
    let id = find(attributes, NFTA_GEN_ID).and_then(|id| id.first_chunk());
    id.map(|id| u32::from_be_bytes(*id))
        .ok_or_else(|| io::Error::other("no generation"))
}

/// Connections of a slot, or of one VNet of it. One that cannot be forgotten times out.
pub(super) fn forget_connections(slot: u32, scope: Option<u32>) {
    let host = host_mac(slot);
    let (value, mask) = match scope {
        Some(scope) => (mark(host, scope), u32::MAX),
        None => (mark(host, 0), !SCOPE_MASK),
    };
    let mut filter = attribute(CTA_MARK, &value.to_be_bytes());
    filter.extend(attribute(CTA_MARK_MASK, &mask.to_be_bytes()));
    if let Err(error) = netfilter(DELETE_CONNECTIONS, NLM_F_ACK, &filter) {
        log::debug!("internet port: forgetting connections: {error}");
    }
}

/// One question; the first answer.
fn netfilter(kind: u16, flags: u16, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = vec![0; HEADER + NFGEN];
    message.extend(attributes);
    let length = message.len() as u32;
    let mut header = NetlinkBuffer::new(&mut message);
    header.set_length(length);
    header.set_message_type(kind);
    header.set_flags(NLM_F_REQUEST | flags);
    header.set_sequence_number(1);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let seen = NetlinkBuffer::new_checked(answer.as_slice()).map_err(io::Error::other)?;
    if seen.message_type() == netlink_packet_core::NLMSG_ERROR {
        let code = answer.get(HEADER..).and_then(|rest| rest.first_chunk());
        match code.map_or(0, |code| i32::from_ne_bytes(*code)) {
            0 => {}
            code => return Err(io::Error::from_raw_os_error(-code)),
        }
    }
    Ok(answer)
}
