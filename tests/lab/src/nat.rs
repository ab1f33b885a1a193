//! A NAT between hosts and the underlay: nftables' masquerading in a namespace of its own.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Lab, Netns,
    underlay::{Link, UPLINK, Underlay},
};

/// A NAT with one public address. Hosts are attached to [`Nat::inside`].
pub struct Nat {
    inside: Underlay,
    outside: Link,
    /// Where what comes to the public address for IKE goes.
    forward: Option<Ipv4Addr>,
}

impl Nat {
    /// In the namespace `name`, attached to `underlay` with `public`.
    pub fn new(lab: &Lab, underlay: &Underlay, name: &str, public: Ipv4Addr) -> Result<Self> {
        let inside = Underlay::with_router(lab, name, Ipv4Addr::new(169, 254, 1, 1))?;
        let outside = underlay.attach(lab, inside.netns(), &[public.into()])?;
        let nat = Self {
            inside,
            outside,
            forward: None,
        };
        nat.map_to((20_000, 29_999))?;
        Ok(nat)
    }

    /// What hosts behind the NAT are attached to.
    pub fn inside(&self) -> &Underlay {
        &self.inside
    }

    pub fn outside(&self) -> &Link {
        &self.outside
    }

    fn netns(&self) -> &Netns {
        self.inside.netns()
    }

    /// Has UDP 500 and 4500 of the public address go to `host` behind the NAT.
    pub fn forward_ike(&mut self, host: Ipv4Addr) -> Result<()> {
        self.forward = Some(host);
        self.map_to((20_000, 29_999))
    }

    /// Forgets every mapping and gives new ones from other ports, as a NAT does that was restarted.
    pub fn rebind(&self) -> Result<()> {
        self.map_to((30_000, 39_999))?;
        self.netns()
            .enter(forget_connections)?
            .context("forgetting the connections of the NAT")
    }

    fn map_to(&self, ports: (u16, u16)) -> Result<()> {
        let forward = self.forward.map_or(String::new(), |host| {
            format!("iifname \"{UPLINK}\" udp dport {{ 500, 4500 }} dnat to {host}")
        });
        let (first, last) = ports;
        let rules = format!(
            "table ip lab\n\
             delete table ip lab\n\
             table ip lab {{\n\
               chain before {{\n\
                 type nat hook prerouting priority -100;\n\
                 {forward}\n\
               }}\n\
               chain after {{\n\
                 type nat hook postrouting priority 100;\n\
                 oifname \"{UPLINK}\" udp sport {{ 500, 4500 }} masquerade to :{first}-{last}\n\
                 oifname \"{UPLINK}\" masquerade\n\
               }}\n\
             }}\n"
        );
        let mut child = self
            .netns()
            .command("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting nft: is the package nftables installed?")?;
        child
            .stdin
            .take()
            .context("nft has no input")?
            .write_all(rules.as_bytes())
            .context("writing to nft")?;
        let output = child.wait_with_output().context("waiting for nft")?;
        ensure!(
            output.status.success(),
            "nft refused the rules of the NAT: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// The public address.
    pub fn public(&self) -> Option<IpAddr> {
        self.outside.addresses().first().copied()
    }
}

/// `IPCTNL_MSG_CT_DELETE` for all of them, which is what `conntrack --flush` sends.
fn forget_connections() -> Result<()> {
    const NFNL_SUBSYS_CTNETLINK: u16 = 1;
    const IPCTNL_MSG_CT_DELETE: u16 = 2;
    let socket = Socket::new(
        Domain::from(libc::AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(libc::NETLINK_NETFILTER)),
    )
    .context("opening a netlink socket")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = Vec::with_capacity(20);
    request.extend(20_u32.to_ne_bytes());
    request.extend((NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE).to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    // Sequence number, port, and of nfgenmsg: any family, version 0, resource 0.
    request.extend([0; 12]);
    (&socket).write_all(&request).context("asking netlink")?;
    let mut answer = [0; 256];
    let length = (&socket).read(&mut answer).context("reading the answer")?;
    // After the 16 bytes of the header: the error, 0 for an acknowledgement.
    let Some(code) = answer.get(16..20).filter(|_| length >= 20) else {
        bail!("netlink answered with {length} bytes");
    };
    match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(-error)).context("netlink refused"),
    }
}
