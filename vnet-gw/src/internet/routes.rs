//! Policy routing: what has the mark of a reply goes to the host's end of the pair.
//!
//! Each slot has three rules and a table of its own:
//!
//! ```text
//! 40+3n:  from all iif vnh…         goto 42+3n    what comes from there is routed as usual
//! 41+3n:  from all fwmark SENT      lookup TABLE  reverse path filters find senders here
//! 42+3n:  from all fwmark RETURNING lookup TABLE
//! ```

use std::io;

use vnet_gw_common::internet::{RETURNING, SCOPE_MASK, SLOTS, host_mac};

use super::InternetError;
use crate::io::rtnl::{Rtnl, attribute, find, number};

/// Before the main table, and before most others' rules.
const FIRST_PRIORITY: u32 = 40;
/// The table of slot 0.
const FIRST_TABLE: u32 = 0x0056_4700;
/// `struct rtmsg`, `struct fib_rule_hdr`
const RTMSG: usize = 12;
const RULE: usize = 12;
const RTNH_F_ONLINK: u32 = 4;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_GOTO: u8 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const NLM_CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];
/// A neighbour that nobody asks for: the pair has no ARP. Link-local, so never a destination.
const ROUTER4: [u8; 4] = [169, 254, 169, 252];
const ROUTER6: [u8; 16] = [
    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc,
];

/// The namespace for what is done about routes.
pub(super) struct Routing;

impl Routing {
    /// The slot whose table leads to the device.
    pub(super) fn slot_of(rtnl: &mut Rtnl, device: u32) -> io::Result<Option<u32>> {
        let mut request = [0; RTMSG];
        request[0] = libc::AF_INET as u8;
        let answers = rtnl.ask(libc::RTM_GETROUTE, libc::NLM_F_DUMP as u16, &request)?;
        Ok(answers.iter().find_map(|answer| {
            let attributes = answer.get(RTMSG..)?;
            let slot = find(attributes, libc::RTA_TABLE)
                .and_then(number)?
                .checked_sub(FIRST_TABLE)?;
            let out = find(attributes, libc::RTA_OIF).and_then(number);
            (slot < SLOTS && out == Some(device)).then_some(slot)
        }))
    }

    /// The slot of the device, and whether it is new: its route in the slot's table is the claim.
    pub(super) fn slot(rtnl: &mut Rtnl, device: u32) -> Result<(u32, bool), InternetError> {
        let known = Self::slot_of(rtnl, device).map_err(InternetError::at("listing routes"))?;
        if let Some(slot) = known {
            return Ok((slot, false));
        }
        for slot in 0..SLOTS {
            let added = add_route(rtnl, FAMILIES[0], slot, device)
                .map_err(InternetError::at("adding its route"))?;
            if added {
                return Ok((slot, true));
            }
        }
        Err(InternetError::NoSlot)
    }

    /// Adds what is missing; how many.
    pub(super) fn ensure(
        rtnl: &mut Rtnl,
        name: &str,
        device: u32,
        slot: u32,
        v6: bool,
    ) -> Result<usize, InternetError> {
        let mut added = 0;
        for family in FAMILIES {
            if family == FAMILIES[1] {
                if !v6 {
                    continue;
                }
                let route = add_route(rtnl, family, slot, device)
                    .map_err(InternetError::at("adding its IPv6 route"))?;
                added += usize::from(route);
            }
            for rule in rules(family, name, slot) {
                let new = match rtnl.ask(libc::RTM_NEWRULE, NLM_CREATE, &rule) {
                    Ok(_) => true,
                    Err(error) if error.raw_os_error() == Some(libc::EEXIST) => false,
                    Err(error) => return Err(InternetError::at("adding its rules")(error)),
                };
                added += usize::from(new);
            }
        }
        Ok(added)
    }

    /// Removes the rules that name the device; the slots they were of. Routes go with the device.
    pub(super) fn remove(rtnl: &mut Rtnl, name: &str) -> Result<Vec<u32>, InternetError> {
        let mut slots = Vec::new();
        for slot in 0..SLOTS {
            let mut found = false;
            for family in FAMILIES {
                let [returning, own, sent] = rules(family, name, slot);
                // Only this one says whose they are.
                if !delete(rtnl, &own)? {
                    continue;
                }
                found = true;
                delete(rtnl, &sent)?;
                delete(rtnl, &returning)?;
            }
            if found {
                slots.push(slot);
            }
        }
        Ok(slots)
    }
}

fn delete(rtnl: &mut Rtnl, rule: &[u8]) -> Result<bool, InternetError> {
    match rtnl.ask(libc::RTM_DELRULE, 0, rule) {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::EAFNOSUPPORT)
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(InternetError::at("removing its rules")(error)),
    }
}

/// A default route to the device in the slot's table; whether there was none.
fn add_route(rtnl: &mut Rtnl, family: u8, slot: u32, device: u32) -> io::Result<bool> {
    let mut request = vec![
        family,
        0,
        0,
        0,
        0,
        libc::RTPROT_STATIC,
        0,
        libc::RTN_UNICAST,
    ];
    request.extend(RTNH_F_ONLINK.to_ne_bytes());
    let router: &[u8] = if family == FAMILIES[0] {
        &ROUTER4
    } else {
        &ROUTER6
    };
    request.extend(attribute(
        libc::RTA_TABLE,
        &(FIRST_TABLE + slot).to_ne_bytes(),
    ));
    request.extend(attribute(libc::RTA_GATEWAY, router));
    request.extend(attribute(libc::RTA_OIF, &device.to_ne_bytes()));
    match rtnl.ask(libc::RTM_NEWROUTE, NLM_CREATE, &request) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// In the order in which they are added: at no moment is what comes from the device sent back to it.
fn rules(family: u8, name: &str, slot: u32) -> [Vec<u8>; 3] {
    let first = FIRST_PRIORITY + 3 * slot;
    let rule = |action: u8, priority: u32, rest: &[Vec<u8>]| {
        let mut request = vec![0; RULE];
        request[0] = family;
        request[7] = action;
        request.extend(attribute(FRA_PRIORITY, &priority.to_ne_bytes()));
        request.extend(rest.concat());
        request
    };
    let marked = |mark: u32| {
        [
            attribute(FRA_FWMARK, &mark.to_ne_bytes()),
            attribute(FRA_FWMASK, &(!SCOPE_MASK).to_ne_bytes()),
            attribute(FRA_TABLE, &(FIRST_TABLE + slot).to_ne_bytes()),
        ]
    };
    let sent = host_mac(slot) as u32;
    let own = [
        attribute(FRA_IIFNAME, &[name.as_bytes(), &[0]].concat()),
        attribute(FRA_GOTO, &(first + 2).to_ne_bytes()),
    ];
    [
        rule(FR_ACT_TO_TBL, first + 2, &marked(sent | RETURNING)),
        rule(FR_ACT_GOTO, first, &own),
        rule(FR_ACT_TO_TBL, first + 1, &marked(sent)),
    ]
}
