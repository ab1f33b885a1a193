//! `ConnectionMonitorParameters`, in both shapes that clients send: endpoints, test configurations
//! and test groups; or, of old, one source and one destination.

mod body;

use std::{net::IpAddr, time::Duration};

use serde_json::{Map, Value};

use self::body::Object;
use crate::{
    model::{ArmError, ResourceId},
    probe::Protocol,
};

/// A monitor as it runs: tests, each of one source, destination and configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    pub tests: Vec<Test>,
    /// `autoStart`: without it, it waits to be started.
    pub auto_start: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// Names, for whoever reads the results.
    pub group: String,
    pub source_name: String,
    pub destination_name: String,
    pub configuration: String,
    /// A virtual machine or a networkInterface.
    pub source: ResourceId,
    pub destination: Destination,
    pub protocol: Protocol,
    pub every: Duration,
    /// Per cent of the probes of one turn that may fail.
    pub failed_allowed: Option<u32>,
    /// The longest round trip that is good.
    pub round_trip_allowed: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Address(IpAddr),
    /// A virtual machine or a networkInterface.
    Resource(ResourceId),
}

/// Most tests of one monitor: each probes by itself.
const MAX_TESTS: usize = 100;
const DEFAULT_SECONDS: u64 = 60;
const SECONDS: std::ops::RangeInclusive<u64> = 10..=1800;

type Result<T> = std::result::Result<T, ArmError>;

fn bad(code: &str, place: &str, why: &str) -> ArmError {
    let message = format!("The connection monitor is not valid: {place}: {why}.");
    ArmError::new(code, message).at(place)
}

fn wrong(place: &str, why: &str) -> ArmError {
    bad("InvalidRequestFormat", place, why)
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Monitor {
    /// Of a body, `{"location", "properties": {…}}`.
    ///
    /// # Errors
    /// `InvalidRequestFormat` for what is not of Azure's shape, `InvalidParameter` for a value out of
    /// its bounds, `NotSupported` for what is not probed here.
    pub fn read(body: &Map<String, Value>) -> Result<Self> {
        let properties = Object::new(body.get("properties"), "properties".to_owned())?;
        properties.only(&[
            "source",
            "destination",
            "autoStart",
            "monitoringIntervalInSeconds",
            "endpoints",
            "testConfigurations",
            "testGroups",
            "outputs",
            "notes",
            "provisioningState",
            "startTime",
            "monitoringStatus",
            "connectionMonitorType",
        ])?;
        if properties.asks("outputs") {
            return Err(not_supported(&properties.place("outputs")));
        }
        let auto_start = match properties.get("autoStart") {
            None => true,
            Some(Value::Bool(yes)) => *yes,
            Some(_) => {
                return Err(wrong(
                    &properties.place("autoStart"),
                    "true or false is needed",
                ));
            }
        };
        let tests = match properties.get("testGroups").is_some() {
            true => groups(&properties)?,
            false => vec![simple(&properties)?],
        };
        if tests.len() > MAX_TESTS {
            let why = format!(
                "{} tests are more than the {MAX_TESTS} that there may be",
                tests.len()
            );
            return Err(bad("InvalidParameter", "properties.testGroups", &why));
        }
        Ok(Self { tests, auto_start })
    }
}

/// The old shape: TCP, or ICMP without a port.
fn simple(properties: &Object<'_>) -> Result<Test> {
    let source = properties.object("source")?;
    let source_id = source.text("resourceId")?;
    let source_id = source_id.ok_or_else(|| {
        wrong(
            &source.place("resourceId"),
            "the id of a virtual machine or networkInterface is needed",
        )
    })?;
    let to = properties.object("destination")?;
    let destination = destination(&to)?;
    let port = to.number("port", 0..=65_535)?.unwrap_or(0);
    Ok(Test {
        group: "default".to_owned(),
        source_name: last(source_id),
        destination_name: match &destination {
            Destination::Address(address) => address.to_string(),
            Destination::Resource(id) => id.name().to_owned(),
        },
        configuration: "default".to_owned(),
        source: ResourceId::new(source_id),
        destination,
        protocol: match u16::try_from(port) {
            Ok(0) | Err(_) => Protocol::Icmp,
            Ok(port) => Protocol::Tcp { port },
        },
        every: seconds(properties, "monitoringIntervalInSeconds")?,
        failed_allowed: None,
        round_trip_allowed: None,
    })
}

fn last(id: &str) -> String {
    ResourceId::new(id).name().to_owned()
}

fn seconds(object: &Object<'_>, name: &str) -> Result<Duration> {
    let seconds = object.number(name, SECONDS)?;
    Ok(Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS)))
}

fn destination(object: &Object<'_>) -> Result<Destination> {
    if let Some(id) = object.text("resourceId")? {
        return Ok(Destination::Resource(ResourceId::new(id)));
    }
    let text = object
        .text("address")?
        .ok_or_else(|| wrong(&object.place, "a resourceId or an address is needed"))?;
    text.parse().map(Destination::Address).map_err(|_| {
        let why = format!(
            "'{}' is no IP address: names are not looked up here",
            cut(text)
        );
        bad("InvalidParameter", &object.place("address"), &why)
    })
}

struct Configuration<'a> {
    name: &'a str,
    protocol: Protocol,
    every: Duration,
    failed_allowed: Option<u32>,
    round_trip_allowed: Option<Duration>,
}

fn configuration<'a>(object: &Object<'a>) -> Result<Configuration<'a>> {
    object.only(&[
        "name",
        "testFrequencySec",
        "protocol",
        "preferredIPVersion",
        "tcpConfiguration",
        "icmpConfiguration",
        "httpConfiguration",
        "successThreshold",
    ])?;
    let name = object.needed("name")?;
    let protocol = object.needed("protocol")?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "icmp" => Protocol::Icmp,
        "tcp" => {
            let tcp = object.object("tcpConfiguration")?;
            let port = tcp.number("port", 1..=65_535)?;
            let port = port.and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or_else(|| wrong(&tcp.place("port"), "a port is needed"))?;
            Protocol::Tcp { port }
        }
        "http" => return Err(not_supported(&object.place("protocol"))),
        _ => {
            let why = format!("'{}' is none of Tcp and Icmp", cut(protocol));
            return Err(bad("InvalidParameter", &object.place("protocol"), &why));
        }
    };
    let threshold = object.object("successThreshold")?;
    Ok(Configuration {
        name,
        protocol,
        every: seconds(object, "testFrequencySec")?,
        failed_allowed: threshold
            .number("checksFailedPercent", 0..=100)?
            .and_then(|percent| u32::try_from(percent).ok()),
        round_trip_allowed: threshold
            .number("roundTripTimeMs", 1..=600_000)?
            .map(Duration::from_millis),
    })
}

fn groups(properties: &Object<'_>) -> Result<Vec<Test>> {
    let endpoints = properties.list("endpoints")?;
    for endpoint in &endpoints {
        endpoint.only(&[
            "name",
            "type",
            "resourceId",
            "address",
            "filter",
            "scope",
            "coverageLevel",
            "locationDetails",
            "subscriptionId",
        ])?;
        for name in ["filter", "scope"] {
            if endpoint.asks(name) {
                return Err(not_supported(&endpoint.place(name)));
            }
        }
    }
    let configurations = properties.list("testConfigurations")?;
    let configurations = configurations
        .iter()
        .map(configuration)
        .collect::<Result<Vec<_>>>()?;
    let mut tests = Vec::new();
    for group in properties.list("testGroups")? {
        group.only(&[
            "name",
            "disable",
            "testConfigurations",
            "sources",
            "destinations",
        ])?;
        let name = group.needed("name")?;
        if matches!(group.get("disable"), Some(Value::Bool(true))) {
            continue;
        }
        for source_name in group.names("sources")? {
            let source = named(&endpoints, source_name, &group.place("sources"))?;
            let id = source.text("resourceId")?.ok_or_else(|| {
                wrong(
                    &source.place("resourceId"),
                    "a source is a virtual machine or networkInterface, whose id is needed",
                )
            })?;
            for destination_name in group.names("destinations")? {
                let to = named(&endpoints, destination_name, &group.place("destinations"))?;
                let destination = destination(to)?;
                for wanted in group.names("testConfigurations")? {
                    let found = configurations
                        .iter()
                        .find(|one| one.name.eq_ignore_ascii_case(wanted));
                    let found = found.ok_or_else(|| {
                        let why = format!("there is no testConfiguration '{}'", cut(wanted));
                        wrong(&group.place("testConfigurations"), &why)
                    })?;
                    tests.push(Test {
                        group: name.to_owned(),
                        source_name: source_name.to_owned(),
                        destination_name: destination_name.to_owned(),
                        configuration: found.name.to_owned(),
                        source: ResourceId::new(id),
                        destination: destination.clone(),
                        protocol: found.protocol,
                        every: found.every,
                        failed_allowed: found.failed_allowed,
                        round_trip_allowed: found.round_trip_allowed,
                    });
                }
            }
        }
    }
    Ok(tests)
}

fn named<'a, 'b>(endpoints: &'b [Object<'a>], name: &str, place: &str) -> Result<&'b Object<'a>> {
    let fits = |one: &&Object<'_>| {
        let own = one.get("name").and_then(Value::as_str);
        own.is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    endpoints
        .iter()
        .find(fits)
        .ok_or_else(|| wrong(place, &format!("there is no endpoint '{}'", cut(name))))
}

fn not_supported(place: &str) -> ArmError {
    bad("NotSupported", place, "it is not supported here: remove it")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(properties: Value) -> Result<Monitor> {
        let body = json!({ "location": "westeurope", "properties": properties });
        Monitor::read(body.as_object().unwrap())
    }

    fn groups() -> Value {
        json!({
            "endpoints": [
                { "name": "web", "type": "AzureVM", "resourceId": "/web" },
                { "name": "db", "resourceId": "/db" },
                { "name": "out", "type": "ExternalAddress", "address": "10.4.0.4" },
            ],
            "testConfigurations": [
                { "name": "ping", "protocol": "Icmp", "testFrequencySec": 30 },
                {
                    "name": "sql", "protocol": "Tcp", "tcpConfiguration": { "port": 1433 },
                    "successThreshold": { "checksFailedPercent": 20, "roundTripTimeMs": 5 },
                },
            ],
            "testGroups": [
                {
                    "name": "all", "sources": ["web"], "destinations": ["db", "OUT"],
                    "testConfigurations": ["ping", "sql"],
                },
                { "name": "off", "disable": true, "sources": ["nobody"], "destinations": [] },
            ],
        })
    }

    #[test]
    fn every_source_destination_and_configuration_of_a_group_is_a_test() {
        let monitor = read(groups()).unwrap();
        assert_eq!(monitor.tests.len(), 4);
        let last = &monitor.tests[3];
        assert_eq!(
            last.destination,
            Destination::Address("10.4.0.4".parse().unwrap())
        );
        assert_eq!(last.protocol, Protocol::Tcp { port: 1433 });
        assert_eq!(last.every, Duration::from_secs(60));
        assert_eq!(last.failed_allowed, Some(20));
        assert_eq!(monitor.tests[0].every, Duration::from_secs(30));
        assert!(monitor.auto_start);
    }

    #[test]
    fn the_old_shape_is_one_test() {
        let monitor = read(json!({
            "source": { "resourceId": "/vm1" },
            "destination": { "address": "10.1.0.4", "port": 80 },
            "autoStart": false,
            "monitoringIntervalInSeconds": 30,
        }));
        let monitor = monitor.unwrap();
        assert_eq!(monitor.tests.len(), 1);
        assert_eq!(monitor.tests[0].protocol, Protocol::Tcp { port: 80 });
        assert!(!monitor.auto_start);
    }

    #[test]
    fn each_mistake_is_told_by_its_place() {
        for (path, value, code) in [
            (
                "/endpoints/0/filter",
                json!({ "type": "Include" }),
                "NotSupported",
            ),
            ("/endpoints/0/resourceId", json!(7), "InvalidRequestFormat"),
            (
                "/endpoints/2/address",
                json!("example.org"),
                "InvalidParameter",
            ),
            (
                "/testConfigurations/0/protocol",
                json!("Http"),
                "NotSupported",
            ),
            (
                "/testConfigurations/0/protocol",
                json!("Sctp"),
                "InvalidParameter",
            ),
            (
                "/testConfigurations/0/testFrequencySec",
                json!(5),
                "InvalidParameter",
            ),
            (
                "/testConfigurations/1/tcpConfiguration",
                json!({}),
                "InvalidRequestFormat",
            ),
            (
                "/testGroups/0/sources",
                json!(["nobody"]),
                "InvalidRequestFormat",
            ),
            (
                "/testGroups/0/sources",
                json!(["out"]),
                "InvalidRequestFormat",
            ),
            (
                "/testGroups/0/testConfigurations",
                json!(["none"]),
                "InvalidRequestFormat",
            ),
            ("/testGroups/0/speed", json!(1), "InvalidRequestFormat"),
            ("/outputs", json!([{ "type": "Workspace" }]), "NotSupported"),
        ] {
            let mut properties = groups();
            let (parent, name) = path.rsplit_once('/').unwrap();
            properties.pointer_mut(parent).unwrap()[name] = value.clone();
            let error = read(properties).unwrap_err();
            assert_eq!(error.code, code, "{path} {value}: {error}");
            assert!(!error.to_string().contains('\n'));
        }
        for properties in [json!({}), json!([]), json!({ "source": {} })] {
            assert_eq!(read(properties).unwrap_err().code, "InvalidRequestFormat");
        }
    }
}
