//! What devices can do with XDP, by the kernel's own word: generic netlink family `netdev`, from
//! 6.3 on.

use std::{collections::BTreeMap, io};

use netlink_sys::protocols::NETLINK_GENERIC;

use super::netlink::{attribute, find, number, request};

const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// `struct genlmsghdr`
const GENL_HEADER: usize = 4;

/// `enum netdev_xdp_act`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct XdpFeatures(u64);

impl XdpFeatures {
    const BASIC: u64 = 1;
    const REDIRECT: u64 = 1 << 1;
    const NDO_XMIT: u64 = 1 << 2;
    const XSK_ZEROCOPY: u64 = 1 << 3;

    /// Programs run in the driver, and may redirect.
    pub(super) fn native(self) -> bool {
        self.0 & (Self::BASIC | Self::REDIRECT) == Self::BASIC | Self::REDIRECT
    }

    /// Programs of other devices may redirect into it.
    pub(super) fn target(self) -> bool {
        self.0 & Self::NDO_XMIT != 0
    }

    pub(super) fn zero_copy(self) -> bool {
        self.0 & Self::XSK_ZEROCOPY != 0
    }

    #[cfg(test)]
    pub(super) fn of(native: bool, target: bool) -> Self {
        let native = if native {
            Self::BASIC | Self::REDIRECT
        } else {
            0
        };
        Self(native | if target { Self::NDO_XMIT } else { 0 })
    }
}

/// By interface index, of the calling thread's network namespace. Before 6.3 an error.
pub(super) fn xdp_features() -> io::Result<BTreeMap<u32, XdpFeatures>> {
    let mut payload = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
    payload.extend(attribute(CTRL_ATTR_FAMILY_NAME, b"netdev\0"));
    let answers = request(NETLINK_GENERIC, GENL_ID_CTRL, false, &payload)?;
    let family = answers
        .first()
        .and_then(|answer| find(answer.get(GENL_HEADER..)?, CTRL_ATTR_FAMILY_ID)?.first_chunk())
        .map(|id| u16::from_ne_bytes(*id))
        .ok_or_else(|| io::Error::other("no generic netlink family netdev"))?;

    let answers = request(
        NETLINK_GENERIC,
        family,
        true,
        &[NETDEV_CMD_DEV_GET, 1, 0, 0],
    )?;
    Ok(answers
        .iter()
        .filter_map(|answer| {
            let attributes = answer.get(GENL_HEADER..)?;
            let index = number(find(attributes, NETDEV_A_DEV_IFINDEX)?)?;
            let features = find(attributes, NETDEV_A_DEV_XDP_FEATURES)?.first_chunk()?;
            Some((index, XdpFeatures(u64::from_ne_bytes(*features))))
        })
        .collect())
}
