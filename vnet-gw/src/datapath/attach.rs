//! Programs on devices: links pinned by interface index, so that a device keeps its link when it
//! becomes another NIC's, and `clsact` filters where the kernel has no TCX.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
};

use aya_obj::generated::{BPF_F_BEFORE, XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, bpf_attach_type};

use super::{
    DatapathError, HookChoice, clsact,
    load::Programs,
    netdev::{Netdev, Netdevs},
    pins::{self, Directory},
    report::Hook,
    sys::{self, LinkInfo, LinkKind},
};

/// The index of the loopback device in every namespace (the kernel's `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// What the kernel can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// TCX links (kernel 6.6 and later).
    pub tcx: bool,
}

impl Features {
    /// Of the running kernel.
    pub fn detect() -> Self {
        // Every namespace has a loopback device, under whatever name; a kernel that does not know
        // TCX refuses the question.
        Self {
            tcx: sys::tcx_chain(LOOPBACK).is_ok(),
        }
    }
}

/// Which kind of hook a device gets; see [`HookChoice`]. A gateway's always gets TCX: a tap takes no
/// native XDP of frames that carry super-packets and partial checksums.
pub(super) fn wants_xdp(choice: HookChoice, device: &Netdev, gateway: bool) -> bool {
    match choice {
        _ if gateway => false,
        HookChoice::Auto => device.is_physical(),
        HookChoice::Xdp => true,
        HookChoice::Tcx => false,
    }
}

#[derive(Debug)]
pub(super) struct Attacher<'a> {
    pub(super) directory: &'a Directory,
    pub(super) programs: &'a Programs,
    pub(super) features: Features,
    pub(super) choice: HookChoice,
}

/// A device with our program on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) hook: Hook,
    /// Whether anything had to be done for it.
    pub(super) changed: bool,
    /// Why the driver refused, where the generic mode was taken instead.
    pub(super) refusal: Option<String>,
}

const KINDS: [LinkKind; 2] = [LinkKind::Xdp, LinkKind::Tcx];

fn pin_name(kind: LinkKind, ifindex: u32) -> String {
    match kind {
        LinkKind::Xdp => format!("xdp-{ifindex}"),
        LinkKind::Tcx | LinkKind::Other => format!("tcx-{ifindex}"),
    }
}

fn ifindex_of(name: &str) -> Option<u32> {
    name.split_once('-')?.1.parse().ok()
}

impl Attacher<'_> {
    /// Sees to it that the device has our program, of this version, at the hook it should have, and
    /// at no other. The error is for the operator.
    pub(super) fn ensure(&self, device: &Netdev, gateway: bool) -> Result<Attached, String> {
        let xdp = wants_xdp(self.choice, device, gateway);
        let attached = match (xdp, self.features.tcx) {
            (true, _) => self.link(device, LinkKind::Xdp)?,
            (false, true) => self.link(device, LinkKind::Tcx)?,
            (false, false) => self.filter(device)?,
        };
        // The new hook first, so that no packet finds none.
        for kind in KINDS {
            let keeps = match attached.hook {
                Hook::XdpNative | Hook::XdpGeneric => kind == LinkKind::Xdp,
                Hook::Tcx => kind == LinkKind::Tcx,
                Hook::Clsact => false,
            };
            if !keeps {
                let path = self.directory.links().join(pin_name(kind, device.ifindex));
                pins::remove_link(&path).map_err(|error| error.to_string())?;
            }
        }
        if !self.features.tcx && attached.hook.is_xdp() {
            clsact::detach(&device.name).map_err(|error| error.to_string())?;
        }
        Ok(attached)
    }

    fn link(&self, device: &Netdev, kind: LinkKind) -> Result<Attached, String> {
        let path = self.directory.links().join(pin_name(kind, device.ifindex));
        let program = if kind == LinkKind::Xdp {
            &self.programs.xdp
        } else {
            &self.programs.tc
        };
        if let Ok(link) = sys::object_get(&path) {
            let info = sys::link_info(link.as_fd()).map_err(|error| error.to_string())?;
            if info.kind == kind
                && info.ifindex == device.ifindex
                && is_on(device, &info)
                    .map_err(|error| format!("asking {}: {error}", device.name))?
            {
                let stale = info.program_id != program.id;
                if stale {
                    sys::link_update(link.as_fd(), program.fd.as_fd())
                        .map_err(|error| refusal(device, kind, &error))?;
                }
                let hook = match kind {
                    LinkKind::Xdp if device.xdp_generic => Hook::XdpGeneric,
                    LinkKind::Xdp => Hook::XdpNative,
                    LinkKind::Tcx | LinkKind::Other => Hook::Tcx,
                };
                return Ok(Attached {
                    hook,
                    changed: stale,
                    refusal: None,
                });
            }
            // Of a device that is gone, or in another namespace now.
            pins::remove_link(&path).map_err(|error| error.to_string())?;
        }
        self.create(device, kind, program.fd.as_fd(), path)
    }

    fn create(
        &self,
        device: &Netdev,
        kind: LinkKind,
        program: BorrowedFd<'_>,
        path: PathBuf,
    ) -> Result<Attached, String> {
        let attach = |hook, flags| sys::link_create(program, device.ifindex, hook, flags);
        let (link, hook, reason) = match kind {
            LinkKind::Xdp => match attach(bpf_attach_type::BPF_XDP, XDP_FLAGS_DRV_MODE) {
                Ok(link) => (link, Hook::XdpNative, None),
                Err(error) if is_taken(&error) => return Err(refusal(device, kind, &error)),
                Err(native) => {
                    let link = attach(bpf_attach_type::BPF_XDP, XDP_FLAGS_SKB_MODE)
                        .map_err(|error| refusal(device, kind, &error))?;
                    (link, Hook::XdpGeneric, Some(native.to_string()))
                }
            },
            LinkKind::Tcx | LinkKind::Other => {
                // Before all others: what they would take or rewrite is ours to route.
                let link = attach(bpf_attach_type::BPF_TCX_INGRESS, BPF_F_BEFORE)
                    .map_err(|error| refusal(device, kind, &error))?;
                (link, Hook::Tcx, None)
            }
        };
        sys::object_pin(link.as_fd(), &path)
            .map_err(|error| format!("pinning {}: {error}", path.display()))?;
        Ok(Attached {
            hook,
            changed: true,
            refusal: reason,
        })
    }

    fn filter(&self, device: &Netdev) -> Result<Attached, String> {
        let changed = clsact::attach(&self.programs.tc_pin(), &device.name)
            .map_err(|error| format!("attaching a clsact filter to {}: {error}", device.name))?;
        Ok(Attached {
            hook: Hook::Clsact,
            changed,
            refusal: None,
        })
    }

    /// Programs that packets meet before ours at TCX. Where the kernel does not tell, none.
    pub(super) fn ahead(&self, ifindex: u32) -> Vec<u32> {
        let chain = sys::tcx_chain(ifindex).unwrap_or_default();
        let ours = self.programs.tc.id;
        let Some(place) = chain.iter().position(|found| found.program_id == ours) else {
            return Vec::new();
        };
        chain[..place]
            .iter()
            .map(|found| found.program_id)
            .collect()
    }

    /// Takes the program off every device that is no port (any more); the links removed, by name.
    pub(super) fn sweep(&self, ports: &BTreeSet<u32>) -> Result<Vec<String>, DatapathError> {
        let mut removed = Vec::new();
        for name in pins::names(&self.directory.links()) {
            if ifindex_of(&name).is_none_or(|ifindex| !ports.contains(&ifindex)) {
                pins::remove_link(&self.directory.links().join(&name))?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Takes a filter off a device that is no port any more.
    pub(super) fn unfilter(&self, ifindex: u32, devices: &Netdevs) -> Result<(), DatapathError> {
        match devices.get(ifindex) {
            Some(device) if !self.features.tcx => clsact::detach(&device.name)
                .map(drop)
                .map_err(DatapathError::Netlink),
            _ => Ok(()),
        }
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

/// Whether the link is on this device: another network namespace may have given its index to
/// another device, whose link it is.
fn is_on(device: &Netdev, link: &LinkInfo) -> io::Result<bool> {
    if link.kind == LinkKind::Tcx {
        let chain = sys::tcx_chain(device.ifindex)?;
        return Ok(chain.iter().any(|program| program.link_id == link.id));
    }
    let has = |device: &Netdev| device.xdp_program == Some(link.program_id);
    // The list of devices may be older than the link.
    Ok(has(device) || Netdevs::read()?.get(device.ifindex).is_some_and(has))
}

fn refusal(device: &Netdev, kind: LinkKind, error: &io::Error) -> String {
    let name = &device.name;
    if kind == LinkKind::Xdp && is_taken(error) {
        return format!(
            "{name} has an XDP program of somebody else: stop its owner, or `ip link set dev {name} xdp off`"
        );
    }
    format!("attaching to {name}: {error}")
}
