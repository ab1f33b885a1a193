//! The nftables table of an instance, as text.

use std::{collections::BTreeSet, fmt::Write};

use vnet_gw_common::{
    internet::{RETURNING, SCOPE_MASK, host_mac, mark, sender_mac},
    mac_from_u64,
};

use super::pair::Names;

/// Replaces the table by one for the VNets `scopes`, in one transaction.
///
/// | chain | does |
/// |---|---|
/// | `zones` | before fragments are put together: zone and mark by source MAC; what has none of a VNet is dropped |
/// | `marks` | the connection keeps the mark; replies to it get it back |
/// | `input` | VNets do not reach the host itself |
/// | `forward` | to a VNet go replies only; nothing goes from VNet to VNet this way |
/// | `source` | what leaves has the host's address |
/// | `last` | what was not translated does not leave; others' rules see no mark of ours |
pub(super) fn ruleset(names: &Names, slot: u32, scopes: &BTreeSet<u32>) -> String {
    let host = host_mac(slot);
    let Names {
        table, host: end, ..
    } = names;
    let elements = |value: &dyn Fn(u32) -> String| {
        let all: Vec<String> = scopes
            .iter()
            .map(|scope| {
                let mac = mac_from_u64(sender_mac(host, *scope)).map(|byte| format!("{byte:02x}"));
                format!("{} : {}", mac.join(":"), value(*scope))
            })
            .collect();
        match all.is_empty() {
            true => String::new(),
            false => format!("elements = {{ {} }}", all.join(", ")),
        }
    };
    let zones = elements(&|scope| (mark(host, scope) & 0xffff).to_string());
    let marks = elements(&|scope| format!("{:#010x}", mark(host, scope)));
    let ours = format!("mark & {:#010x}", !SCOPE_MASK);
    let value = format!("{:#010x}", host as u32);
    let mut text = String::new();
    // Never fails for a String.
    let _ = write!(
        text,
        r#"add table inet {table}
delete table inet {table}
table inet {table} {{
	map zone_of {{
		typeof ether saddr : ct zone
		{zones}
	}}
	map mark_of {{
		typeof ether saddr : meta mark
		{marks}
	}}
	chain zones {{
		type filter hook prerouting priority -450; policy accept;
		iifname "{end}" ct original zone set ether saddr map @zone_of meta mark set ether saddr map @mark_of accept
		iifname "{end}" counter drop
	}}
	chain marks {{
		type filter hook prerouting priority -150; policy accept;
		iifname "{end}" ct direction original ct mark set meta mark accept
		iifname != "{end}" ct direction reply ct {ours} == {value} meta mark set ct mark | {RETURNING:#010x}
	}}
	chain input {{
		type filter hook input priority 0; policy accept;
		iifname "{end}" counter drop
	}}
	chain forward {{
		type filter hook forward priority 0; policy accept;
		iifname "{end}" oifname "{end}" counter drop
		iifname "{end}" ct state invalid counter drop
		iifname "{end}" meta {ours} != {value} counter drop
		oifname "{end}" ct {ours} != {value} counter drop
		oifname "{end}" ct direction original counter drop
	}}
	chain source {{
		type nat hook postrouting priority 100; policy accept;
		meta {ours} == {value} masquerade
	}}
	chain last {{
		type filter hook postrouting priority 200; policy accept;
		meta {ours} == {value} ct status & snat == 0 counter drop
		meta {ours} == {value} meta mark set 0
	}}
}}
"#
    );
    text
}
