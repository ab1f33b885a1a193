//! `vnet-gw effective-nsg`

use anyhow::Result;
use vnet_gw_core::security::{Association, EffectiveSecurityGroups, EffectiveSecurityRule};

use super::{
    Verdict,
    args::{Cli, EffectiveNsgArgs, OutputFormat},
    output, source,
    table::{Left, Right, Table},
};
use crate::control::{Request, Response, effective_security_groups, short};

pub(super) fn run(cli: &Cli, args: &EffectiveNsgArgs) -> Result<Verdict> {
    let groups = source::answer(
        cli,
        &args.source,
        |snapshot| effective_security_groups(&snapshot.topology, &args.nic),
        Request::EffectiveSecurityGroups {
            network_interface: args.nic.clone(),
        },
        |answer| match answer {
            Response::EffectiveSecurityGroups(groups) => Some(groups),
            _ => None,
        },
    )?;
    match cli.output {
        OutputFormat::Json => output::json(&groups)?,
        OutputFormat::Table => output::print(&text(&groups))?,
    }
    Ok(Verdict::Good)
}

/// A table a group.
fn text(groups: &EffectiveSecurityGroups) -> String {
    if groups.value.is_empty() {
        return "no network security group holds for it: everything is allowed\n".to_owned();
    }
    let tables = groups.value.iter().map(|group| {
        let of = match &group.association {
            Association::Subnet(subnet) => format!("subnet {}", short(&subnet.id)),
            Association::NetworkInterface(nic) => format!("network interface {}", short(&nic.id)),
        };
        let id = &group.network_security_group.id;
        let rules = table(&group.effective_security_rules);
        format!("{} of {of}\n{rules}", short(id))
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn table(rules: &[EffectiveSecurityRule]) -> String {
    let mut table = Table::new(&[
        ("DIRECTION", Left),
        ("PRIORITY", Right),
        ("ACCESS", Left),
        ("PROTOCOL", Left),
        ("SOURCE", Left),
        ("PORTS", Left),
        ("DESTINATION", Left),
        ("PORTS", Left),
        ("NAME", Left),
    ]);
    for rule in rules {
        table.row([
            rule.direction.as_str().to_owned(),
            rule.priority.to_string(),
            rule.access.as_str().to_owned(),
            rule.protocol.clone(),
            few(&rule.source_address_prefixes),
            few(&rule.source_port_ranges),
            few(&rule.destination_address_prefixes),
            few(&rule.destination_port_ranges),
            rule.name.clone(),
        ]);
    }
    table.text()
}

/// The first of them, and how many there are besides; `*` for everything.
fn few(all: &[String]) -> String {
    match all {
        [] => "-".to_owned(),
        [v4, v6] if v4 == "0.0.0.0/0" && v6 == "::/0" => "*".to_owned(),
        [only] if only == "0-65535" => "*".to_owned(),
        [first, second, more @ ..] if !more.is_empty() => {
            format!("{first} {second} +{}", more.len())
        }
        few => few.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut_and_everything_is_a_star() {
        let texts = |all: &[&str]| few(&all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(texts(&[]), "-");
        assert_eq!(texts(&["0.0.0.0/0", "::/0"]), "*");
        assert_eq!(texts(&["0-65535"]), "*");
        assert_eq!(texts(&["22-22", "80-90"]), "22-22 80-90");
        assert_eq!(texts(&["a", "b", "c", "d"]), "a b +2");
    }
}
