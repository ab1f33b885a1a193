//! The programs in the kernel: their link and their maps live as long as the value, and go with the
//! process however that ends.

use std::{net::IpAddr, os::fd::AsRawFd};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{HashMap, Map, MapData, XskMap},
    programs::{ProgramError, Xdp, XdpMode},
};
use vnet_gw_common::xsk::{ADDRESSES4, ADDRESSES6, MAX_ADDRESSES, PROG_NET, PROG_PORT, SOCKETS};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/xsk"));

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// ESP to the gateway's public addresses goes to the sockets.
    Net,
    /// All of it does.
    Port,
}

/// A program on a device.
pub(super) struct Program(Ebpf);

impl Program {
    /// Loads it and puts it onto a device of the calling thread's network namespace. The error is for
    /// the operator.
    ///
    /// `generic`: also where the driver has no XDP.
    pub(super) fn attach(kind: Kind, ifindex: u32, generic: bool) -> Result<Self, String> {
        let mut object = EbpfLoader::new()
            .load(OBJECT)
            .map_err(|error| format!("loading the XDP program: {}", chain(&error)))?;
        let name = match kind {
            Kind::Net => PROG_NET,
            Kind::Port => PROG_PORT,
        };
        let program = object
            .program_mut(name)
            .ok_or_else(|| format!("the object has no program {name}"))?;
        let program: &mut Xdp = program.try_into().map_err(|error| chain(&error))?;
        program
            .load()
            .map_err(|error| format!("loading the XDP program: {}", chain(&error)))?;
        let attached = program.attach_to_if_index(ifindex, XdpMode::Driver);
        let attached = match attached {
            Err(error) if generic && !is_taken(&error) => {
                program.attach_to_if_index(ifindex, XdpMode::Skb)
            }
            attached => attached,
        };
        match attached {
            Ok(_) => Ok(Self(object)),
            Err(error) if is_taken(&error) => {
                Err("it has an XDP program already (another gateway's, or a stranger's)".to_owned())
            }
            Err(error) => Err(format!("attaching the XDP program: {}", chain(&error))),
        }
    }

    /// What comes in by a queue goes to this socket.
    pub(super) fn set_socket(&mut self, queue: u32, socket: &impl AsRawFd) -> Result<(), String> {
        let map = self.map(SOCKETS)?;
        XskMap::try_from(map)
            .and_then(|mut map| map.set(queue, socket.as_raw_fd(), 0))
            .map_err(|error| format!("handing queue {queue} to its socket: {}", chain(&error)))
    }

    /// Takes ESP for these addresses, and for no others.
    pub(super) fn set_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), String> {
        if addresses.len() > MAX_ADDRESSES as usize {
            return Err(format!("more than {MAX_ADDRESSES} public addresses"));
        }
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(u32::from_ne_bytes(address.octets())),
            IpAddr::V6(_) => None,
        });
        self.set(ADDRESSES4, v4.collect())?;
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => {
                let octets = address.octets();
                let (words, _) = octets.as_chunks::<4>();
                let mut key = [0; 4];
                for (to, from) in key.iter_mut().zip(words) {
                    *to = u32::from_ne_bytes(*from);
                }
                Some(key)
            }
        });
        self.set(ADDRESSES6, v6.collect())
    }

    fn set<K: Pod + PartialEq>(&mut self, name: &str, wanted: Vec<K>) -> Result<(), String> {
        let failed = |error| format!("writing {name}: {}", chain(&error));
        let mut map: HashMap<&mut MapData, K, u8> =
            HashMap::try_from(self.map(name)?).map_err(failed)?;
        let held: Vec<K> = map.keys().collect::<Result<_, _>>().map_err(failed)?;
        for key in held.iter().filter(|key| !wanted.contains(key)) {
            map.remove(key).map_err(failed)?;
        }
        for key in wanted {
            map.insert(key, 1, 0).map_err(failed)?;
        }
        Ok(())
    }

    fn map(&mut self, name: &str) -> Result<&mut Map, String> {
        self.0
            .map_mut(name)
            .ok_or_else(|| format!("the object has no map {name}"))
    }
}

fn is_taken(error: &ProgramError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
        }
        source = error.source();
    }
    false
}

/// The error and what caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
