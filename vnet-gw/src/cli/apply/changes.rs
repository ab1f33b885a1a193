//! What changes, for people.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::Value;
use vnet_gw_core::{
    arm::{
        Assign, Change, GroupId, Origin, ResourceGroup, State,
        deployment::{Mode, Request, ResultFormat, execute, what_if},
    },
    model::DeployOptions,
    secret::Secret,
};

use super::Place;
use crate::cli::output::count;

/// The items of a what-if, and what has no effect.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) changes: Vec<Value>,
    pub(super) warnings: Vec<String>,
}

/// How a kind of change is told: its sign, its colour, and what is done.
const KINDS: [(&str, &str, &str, &str); 3] = [
    ("Create", "+", "\x1b[32m", "created"),
    ("Modify", "~", "\x1b[33m", "changed"),
    ("Delete", "-", "\x1b[31m", "deleted"),
];
const PLAIN: &str = "\x1b[0m";
/// Deeper differences are in the JSON.
const DEEPEST: usize = 6;
/// Longer values are cut.
const SHOWN: usize = 100;

impl Told {
    /// One line a resource that changes, and one for each of its properties; then the sums.
    pub(super) fn text(&self, how: &str, colours: bool) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let kind = change["changeType"].as_str().unwrap_or_default();
            let Some((_, sign, colour, _)) = KINDS.iter().find(|(name, ..)| *name == kind) else {
                continue;
            };
            let id = change["resourceId"].as_str().unwrap_or_default();
            line(&mut text, 0, sign, colour, short(id), colours);
            properties(&mut text, 1, change["delta"].as_array(), colours);
        }
        let number = |kind: &str| {
            let of_kind = |change: &&Value| change["changeType"] == kind;
            self.changes.iter().filter(of_kind).count()
        };
        let space = if how.is_empty() { "" } else { " " };
        let sums = KINDS.map(|(kind, _, _, done)| format!("{} {how}{space}{done}", number(kind)));
        text.push_str(&format!(
            "{}; {} unchanged\n",
            sums.join(", "),
            count(number("NoChange"), "resource")
        ));
        text
    }
}

fn properties(text: &mut String, depth: usize, delta: Option<&Vec<Value>>, colours: bool) {
    for change in delta.into_iter().flatten() {
        let kind = change["propertyChangeType"].as_str().unwrap_or_default();
        let path = change["path"].as_str().unwrap_or_default();
        let known = KINDS.iter().find(|(name, ..)| *name == kind);
        let (sign, colour) = known.map_or(("~", KINDS[1].2), |(_, sign, colour, _)| (sign, colour));
        let children = change["children"].as_array();
        let label = match named(change) {
            Some(name) => format!("{path} ({name})"),
            None => path.to_owned(),
        };
        let what = match (children, kind) {
            (Some(_), _) => label,
            (None, "Create") => format!("{label}: {}", shown(&change["after"])),
            (None, "Delete") => format!("{label}: {}", shown(&change["before"])),
            (None, _) => format!(
                "{label}: {} => {}",
                shown(&change["before"]),
                shown(&change["after"])
            ),
        };
        line(text, depth, sign, colour, &what, colours);
        if depth < DEEPEST {
            properties(text, depth + 1, children, colours);
        }
    }
}

/// The name of an item of an array.
fn named(change: &Value) -> Option<&str> {
    let item = match change["before"].is_object() {
        true => &change["before"],
        false => &change["after"],
    };
    item.get("name")?.as_str()
}

fn line(text: &mut String, depth: usize, sign: &str, colour: &str, what: &str, colours: bool) {
    let indent = "  ".repeat(depth);
    let clean: String = what
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match colours {
        true => text.push_str(&format!("{indent}{colour}{sign}{PLAIN} {clean}\n")),
        false => text.push_str(&format!("{indent}{sign} {clean}\n")),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Without what is the same of all: `Microsoft.Network/virtualNetworks/VNet1`.
fn short(id: &str) -> &str {
    match id.rfind("/providers/") {
        Some(at) => &id[at + "/providers/".len()..],
        None => id.trim_start_matches('/'),
    }
}

/// What a template would make of a group that is not there yet.
pub(super) fn alone(place: &Place, body: &Value) -> Result<Told> {
    let group = GroupId::new(&place.subscription, &place.group)?;
    let made = Change::PutGroup(ResourceGroup {
        id: group.clone(),
        location: place.location.clone(),
        tags: Default::default(),
    });
    let state = State::default().apply(&[made], &mut Trying)?.state;
    let properties = &body["properties"];
    let request = Request {
        template: &properties["template"],
        parameters: &properties["parameters"],
        options: DeployOptions {
            subscription_id: place.subscription.clone(),
            resource_group: place.group.clone(),
            now: Some(std::time::SystemTime::now()),
            random: Some(*uuid::Uuid::new_v4().as_bytes()),
            most_work: DeployOptions::REQUEST_WORK,
            ..DeployOptions::default()
        },
        mode: Mode::Incremental,
        origin: Origin::Api,
        may_read: &|_| true,
    };
    let deployed = execute(&request, &state, &mut Trying)?;
    let warnings = deployed.warnings.iter();
    Ok(Told {
        changes: what_if(
            &state,
            &deployed,
            Some(&group),
            ResultFormat::FullResourcePayloads,
        ),
        warnings: warnings
            .map(|warning| format!("{}: {}", warning.target, warning.message))
            .collect(),
    })
}

/// For what is only tried: addresses of the documentation stand for those of the instance.
struct Trying;

impl Assign for Trying {
    fn guid(&mut self) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    fn shared_key(&mut self, length: usize) -> Secret {
        Secret::new(vec![b'x'; length])
    }

    fn public_addresses(&self) -> Vec<IpAddr> {
        let documentation = ipnet::Ipv4Net::new([198, 18, 0, 0].into(), 20);
        let hosts = documentation.into_iter().flat_map(|net| net.hosts());
        hosts.map(IpAddr::V4).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_told_with_their_properties() {
        let told = Told {
            changes: vec![
                json!({"resourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/routeTables/T", "changeType": "Create"}),
                json!({"resourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/V", "changeType": "Modify",
                "delta": [
                    {"path": "tags.a\u{1b}", "propertyChangeType": "Create", "after": "b"},
                    {"path": "properties.subnets", "propertyChangeType": "Array", "children": [
                        {"path": "0", "propertyChangeType": "Modify", "before": {"name": "S"}, "after": {"name": "S"}, "children": [
                            {"path": "properties.addressPrefix", "propertyChangeType": "Modify", "before": "10.0.0.0/24", "after": "10.0.1.0/24"}]}]},
                ]}),
                json!({"resourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/routeTables/U", "changeType": "Delete"}),
                json!({"resourceId": "/x", "changeType": "NoChange"}),
                json!({"resourceId": "/y", "changeType": "Ignore"}),
            ],
            warnings: Vec::new(),
        };
        assert_eq!(
            told.text("would be", false),
            "+ Microsoft.Network/routeTables/T\n\
             ~ Microsoft.Network/virtualNetworks/V\n  \
               + tags.a : \"b\"\n  \
               ~ properties.subnets\n    \
                 ~ 0 (S)\n      \
                   ~ properties.addressPrefix: \"10.0.0.0/24\" => \"10.0.1.0/24\"\n\
             - Microsoft.Network/routeTables/U\n\
             1 would be created, 1 would be changed, 1 would be deleted; 1 resource unchanged\n"
        );
        let colours = told.text("", true);
        assert!(
            colours.starts_with("\x1b[32m+\x1b[0m Microsoft"),
            "{colours}"
        );
        assert!(colours.ends_with("1 created, 1 changed, 1 deleted; 1 resource unchanged\n"));
    }
}
