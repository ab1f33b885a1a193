//! What is asked: the properties of a request's body, and the resources that they name.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::{Map, Value};
use vnet_gw_core::{
    model::{NetworkInterface, ResourceId, Topology},
    watcher::{Machine, machine},
};

use crate::{
    api::{Call, Refusal},
    identity::Permission,
};

/// The body of a question. Names compare without case, as everywhere in ARM.
pub(super) struct Question<'a>(&'a Map<String, Value>);

pub(super) fn wrong(message: impl std::fmt::Display) -> Refusal {
    let message = format!("The body of the request is not valid: {message}");
    Refusal::bad("InvalidRequestContent", message)
}

/// As much of what a client wrote as an error repeats.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl<'a> Question<'a> {
    pub(super) fn new(body: &'a Map<String, Value>) -> Self {
        Self(body)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let mut fields = self.0.iter();
        let found = fields.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// # Errors
    ///
    /// `InvalidRequestContent` where it is no text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            Some(_) => Err(wrong(format_args!("{name} must be a string."))),
        }
    }

    /// # Errors
    ///
    /// `InvalidRequestContent` where it is no object.
    pub(super) fn object(&self, name: &str) -> Result<Option<Self>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self(object))),
            Some(_) => Err(wrong(format_args!("{name} must be an object."))),
        }
    }

    /// # Errors
    ///
    /// `InvalidRequestContent` where it is not there, or is no object.
    pub(super) fn needed_object(&self, name: &str) -> Result<Self, Refusal> {
        self.object(name)?
            .ok_or_else(|| wrong(format_args!("{name} is missing.")))
    }

    /// # Errors
    ///
    /// `InvalidRequestContent` where it is not there, or is no text.
    pub(super) fn needed(&self, name: &str) -> Result<&'a str, Refusal> {
        self.text(name)?
            .ok_or_else(|| wrong(format_args!("{name} is missing.")))
    }

    /// # Errors
    ///
    /// `InvalidRequestContent` where it is not there, or is no address.
    pub(super) fn address(&self, name: &str) -> Result<IpAddr, Refusal> {
        let text = self.needed(name)?;
        text.parse().map_err(|_| {
            let text = cut(text);
            wrong(format_args!(
                "{name} must be an IP address, and '{text}' is none."
            ))
        })
    }
}

/// What stands for any source port: the first that nobody is assigned (RFC 6335, section 6).
const ANY_PORT: u16 = 49_152;

impl Question<'_> {
    /// A port; `any`: `*` will do.
    ///
    /// # Errors
    ///
    /// `InvalidRequestContent` where it is not there, or is none.
    pub(super) fn port(&self, name: &str, any: bool) -> Result<u16, Refusal> {
        let written = match self.get(name) {
            Some(Value::Number(number)) => number.to_string(),
            _ => self.needed(name)?.to_owned(),
        };
        if any && written == "*" {
            return Ok(ANY_PORT);
        }
        written.parse().map_err(|_| {
            let what = match any {
                true => "a port from 0 to 65535, or *",
                false => "a port from 0 to 65535",
            };
            let written = cut(&written);
            wrong(format_args!(
                "{name} must be {what}, and '{written}' is not."
            ))
        })
    }

    /// # Errors
    ///
    /// `InvalidRequestContent` where it is no port.
    pub(super) fn optional_port(&self, name: &str) -> Result<Option<u16>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(_) => self.port(name, false).map(Some),
        }
    }

    /// One of `choices`, as that is written.
    ///
    /// # Errors
    ///
    /// `InvalidRequestContent` where it is not there, or is another.
    pub(super) fn choice<'c>(&self, name: &str, choices: &[&'c str]) -> Result<&'c str, Refusal> {
        let written = self.needed(name)?;
        let mut all = choices.iter();
        let found = all.find(|one| one.eq_ignore_ascii_case(written));
        found.copied().ok_or_else(|| {
            let (written, choices) = (cut(written), choices.join(", "));
            wrong(format_args!(
                "{name} must be one of {choices}, and '{written}' is not."
            ))
        })
    }
}

/// The NIC that a question is about: `targetNicResourceId`, or that of `targetResourceId`, which is
/// a virtual machine or a NIC; of several the one that has `address`.
pub(super) fn find_interface<'t>(
    call: &Call,
    topology: &'t Topology,
    question: &Question<'_>,
    address: Option<IpAddr>,
) -> Result<&'t NetworkInterface, Refusal> {
    let target = ResourceId::new(question.needed("targetResourceId")?);
    let machine = target_machine(call, topology, &target, "targetResourceId")?;
    if let Some(nic) = question.text("targetNicResourceId")? {
        let id = ResourceId::new(nic);
        let mut own = machine.interfaces.iter().copied();
        return own.find(|nic| nic.id == id).ok_or_else(|| {
            wrong(format_args!(
                "targetNicResourceId '{}' is no network interface of '{}'.",
                cut(nic),
                machine.id.name()
            ))
        });
    }
    of_machine(&machine, address)
}

/// The virtual machine with that id, or the NIC, as a machine of it alone.
pub(super) fn target_machine<'t>(
    call: &Call,
    topology: &'t Topology,
    id: &ResourceId,
    name: &str,
) -> Result<Machine<'t>, Refusal> {
    let read = |kind: &str| call.allow(Permission::Read, &format!("{kind}/read"), id.as_str());
    if let Some(nic) = topology.network_interfaces.get(id) {
        read("Microsoft.Network/networkInterfaces")?;
        return Ok(Machine {
            id: nic.id.clone(),
            interfaces: vec![&**nic],
        });
    }
    read("Microsoft.Compute/virtualMachines")?;
    machine(topology, id).ok_or_else(|| {
        let id = cut(id.as_str());
        Refusal::missing(
            "ResourceNotFound",
            format!(
                "{name}: there is no virtual machine or network interface '{id}'. A virtual \
                 machine is what network interfaces say in their tag vnet-gw:vm, or else has the \
                 name of its network interface."
            ),
        )
    })
}

fn of_machine<'t>(
    machine: &Machine<'t>,
    address: Option<IpAddr>,
) -> Result<&'t NetworkInterface, Refusal> {
    let has = |nic: &&&NetworkInterface| {
        let mut configurations = nic.ip_configurations.iter();
        configurations.any(|one| Some(one.private_ip_address) == address)
    };
    match machine.interfaces.as_slice() {
        [only] => Ok(only),
        all => all.iter().find(has).copied().ok_or_else(|| {
            wrong(format_args!(
                "the virtual machine '{}' has several network interfaces, and none has the address \
                 that is asked about: say which one in targetNicResourceId.",
                machine.id.name()
            ))
        }),
    }
}

/// Refuses a packet that cannot be.
pub(super) fn same_family(source: IpAddr, destination: IpAddr) -> Result<(), Refusal> {
    match source.is_ipv4() == destination.is_ipv4() {
        true => Ok(()),
        false => Err(wrong(format_args!(
            "{source} and {destination} are not of one address family."
        ))),
    }
}

/// Refuses an address that the NIC does not send from: of such a packet there is no way to tell.
pub(super) fn may_send_from(
    nic: &NetworkInterface,
    address: IpAddr,
    name: &str,
) -> Result<(), Refusal> {
    let mut configurations = nic.ip_configurations.iter();
    let own = configurations.any(|one| one.private_ip_address == address);
    if own || nic.enable_ip_forwarding {
        return Ok(());
    }
    Err(wrong(format_args!(
        "{name} {address} is not an address of the network interface '{}', which has no \
         enableIPForwarding: what it sends from there is dropped.",
        nic.id.name()
    )))
}

/// An answer as JSON.
pub(super) fn shown(answer: &impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer).map_err(|error| {
        Refusal::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            error.to_string(),
        )
    })
}
