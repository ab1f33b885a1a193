//! A way into the data path for packets that no workload sends: a tap whose packets take the path of
//! whichever port they are sent for, from the first step on.
//!
//! The kernel takes in a frame that is written to a tap before the write returns. So the tap is that
//! port for just as long, and nobody else's packets come by it. It goes with its descriptor, and the
//! program on it too.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
};

use aya_obj::generated::bpf_attach_type;
use vnet_gw_common::maps::{self, IFINDEX_DIRECT};

use super::{Datapath, DatapathError, clsact, load, map::Map, sys};
use crate::io::{link, tun};

const MTU: u32 = 1500;
/// What the data path sends back by this tap is read by nobody.
const QUEUE: u32 = 16;

/// The tap. Dropping it removes it.
#[derive(Debug)]
pub struct ProbePort {
    file: File,
    ifindex: u32,
    /// Interface index to port: the array's or, for a large index, the hash.
    ports: Map,
    /// Nothing where a filter stands in for it, which goes with the device.
    _link: Option<OwnedFd>,
}

impl ProbePort {
    /// Sends a frame as the workload behind `port` would.
    pub fn send(&mut self, port: u32, frame: &[u8]) -> io::Result<()> {
        self.ports.set(self.ifindex, port)?;
        let sent = self.file.write(frame);
        let reset = match self.ifindex < IFINDEX_DIRECT {
            true => self.ports.set(self.ifindex, 0u32),
            false => self.ports.delete(self.ifindex),
        };
        sent?;
        reset
    }
}

impl Datapath {
    /// Makes the way in. One at a time.
    pub fn probe_port(&mut self) -> Result<ProbePort, DatapathError> {
        let hash = load::hash(self.instance.name.as_bytes());
        let device = format!("vgp{:012x}", hash >> 16);
        let failed = |doing: &str, source: io::Error| DatapathError::Probe {
            device: device.clone(),
            doing: doing.to_owned(),
            source,
        };
        let file =
            tun::tap(&device, libc::IFF_NO_PI).map_err(|(doing, source)| failed(doing, source))?;
        // Locally administered; no frame bears it.
        let [.., a, b, c, d, e] = hash.to_be_bytes();
        link::prepare(&device, [0x02, a, b, c, d, e], MTU, QUEUE)
            .map_err(|source| failed("configuring it", source))?;
        let ifindex = nix::net::if_::if_nametoindex(device.as_str())
            .map_err(|errno| failed("finding it", errno.into()))?;
        let name = match ifindex < IFINDEX_DIRECT {
            true => maps::PORT_BY_IF,
            false => maps::PORT_BY_IF_FAR,
        };
        let ports = sys::object_get(&self.directory.map(name))
            .and_then(|fd| Map::new(fd, 1))
            .map_err(|source| failed("opening a map", source))?;
        self.ports.leave_alone(ifindex);
        let link = match self.features.tcx {
            true => {
                let hook = bpf_attach_type::BPF_TCX_INGRESS;
                let link = sys::link_create(self.programs.tc.fd.as_fd(), ifindex, hook, 0);
                Some(link.map_err(|source| failed("attaching the program", source))?)
            }
            false => {
                clsact::attach(&self.programs.tc_pin(), &device)
                    .map_err(|source| failed("attaching the program", source))?;
                None
            }
        };
        Ok(ProbePort {
            file,
            ifindex,
            ports,
            _link: link,
        })
    }
}
