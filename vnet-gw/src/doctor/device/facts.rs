//! Finding out about a device, and about the other end of a veth.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::fd::AsRawFd,
    thread,
};

use nix::sched::{CloneFlags, setns};

use super::{
    super::{
        ethtool::Ethtool,
        genl::XdpFeatures,
        netlink::{Link, links, namespace_id},
    },
    known,
};

/// Where `ip netns` keeps the namespaces it names.
const NAMED: &str = "/run/netns";

pub(super) struct Facts<'a> {
    pub(super) link: &'a Link,
    pub(super) hook: Option<String>,
    pub(super) driver: Option<String>,
    pub(super) gro: Option<bool>,
    /// `None` before 6.3.
    pub(super) features: Option<XdpFeatures>,
    /// `None` where it is in a namespace without a name, or where there is none.
    pub(super) peer: Option<Peer>,
}

/// The other end of a veth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    /// `None`: in our own.
    pub(super) netns: Option<String>,
    pub(super) mtu: u32,
    pub(super) tx_checksum: Option<bool>,
}

impl<'a> Facts<'a> {
    /// `features`: of all devices, by interface index.
    pub(super) fn of(
        link: &'a Link,
        hook: Option<String>,
        features: Option<&BTreeMap<u32, XdpFeatures>>,
    ) -> Self {
        let ethtool = known(Ethtool::open());
        let ethtool = ethtool.as_ref();
        Self {
            link,
            hook,
            driver: ethtool.and_then(|ethtool| known(ethtool.driver(&link.name))),
            gro: ethtool.and_then(|ethtool| known(ethtool.gro(&link.name))),
            features: features.and_then(|all| all.get(&link.ifindex).copied()),
            peer: match (link.kind.as_deref(), link.peer) {
                (Some("veth"), Some((index, namespace))) => peer(index, namespace),
                _ => None,
            },
        }
    }
}

fn peer(index: u32, namespace: Option<i32>) -> Option<Peer> {
    let Some(id) = namespace else {
        return look(index, None);
    };
    let (name, file) = named_namespaces()
        .into_iter()
        .find(|(_, file)| known(namespace_id(file.as_raw_fd())).flatten() == Some(id))?;
    // A thread of its own: it is the thread that enters, and it does not come back.
    let inside = thread::spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).ok()?;
        look(index, Some(name))
    });
    inside.join().ok()?
}

/// The device in the calling thread's namespace.
fn look(index: u32, netns: Option<String>) -> Option<Peer> {
    let link = known(links())?
        .into_iter()
        .find(|link| link.ifindex == index)?;
    let ethtool = known(Ethtool::open());
    Some(Peer {
        tx_checksum: ethtool.and_then(|ethtool| known(ethtool.tx_checksum(&link.name))),
        mtu: link.mtu,
        name: link.name,
        netns,
    })
}

fn named_namespaces() -> Vec<(String, File)> {
    let Ok(entries) = fs::read_dir(NAMED) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((
                entry.file_name().into_string().ok()?,
                File::open(entry.path()).ok()?,
            ))
        })
        .collect()
}
