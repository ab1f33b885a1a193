//! `PacketCaptureParameters`, as clients send them.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Addresses, Filter, Ports, Protocol};
use crate::model::{ArmError, ResourceId};

/// When a capture ends by itself, and how much it keeps of each packet. Defaults and bounds are
/// Azure's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `bytesToCapturePerPacket`; 0 for all of it.
    pub bytes_per_packet: u32,
    /// `totalBytesPerSession`: of the file.
    pub total_bytes: u64,
    /// `timeLimitInSeconds`
    pub time: Duration,
}

impl Limits {
    pub const MAX_TOTAL_BYTES: u64 = 4_294_967_295;
    pub const MAX_SECONDS: u64 = 18_000;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_per_packet: 0,
            total_bytes: 1_073_741_824,
            time: Duration::from_secs(Self::MAX_SECONDS),
        }
    }
}

/// A capture as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A virtual machine, a networkInterface or a virtualNetworkGateway.
    pub target: ResourceId,
    pub limits: Limits,
    /// None of them: every frame.
    pub filters: Vec<Filter>,
    /// `storageLocation.filePath`; nothing where there is no file, which is the caller's to allow.
    pub file_path: Option<String>,
}

/// The most filters, as in Azure.
const MAX_FILTERS: usize = 10;

impl Settings {
    /// Of a body, `{"properties": {…}}`.
    ///
    /// # Errors
    /// `InvalidRequestFormat` for what is not of Azure's shape, `InvalidParameter` for a value out of
    /// its bounds, `NotSupported` for what needs a storage account.
    pub fn read(body: &Map<String, Value>) -> Result<Self, ArmError> {
        let properties = Object::of(body.get("properties"), "properties")?;
        properties.only(&[
            "target",
            "scope",
            "targetType",
            "bytesToCapturePerPacket",
            "totalBytesPerSession",
            "timeLimitInSeconds",
            "storageLocation",
            "filters",
            "continuousCapture",
            "captureSettings",
            // Azure sets it.
            "provisioningState",
        ])?;
        for name in ["scope", "continuousCapture", "captureSettings"] {
            if properties.asks(name) {
                return Err(not_supported(&properties.place(name)));
            }
        }
        let kind = properties.text("targetType")?;
        if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("AzureVM")) {
            return Err(not_supported(&properties.place("targetType")));
        }
        let target = properties.text("target")?.filter(|text| !text.is_empty());
        let target = target.ok_or_else(|| {
            format_error(
                &properties.place("target"),
                "the id of a virtual machine, networkInterface or virtualNetworkGateway is needed",
            )
        })?;
        let default = Limits::default();
        let limits = Limits {
            bytes_per_packet: properties
                .number("bytesToCapturePerPacket", 0, u32::MAX.into())?
                .and_then(|bytes| u32::try_from(bytes).ok())
                .unwrap_or(default.bytes_per_packet),
            total_bytes: properties
                .number("totalBytesPerSession", 0, Limits::MAX_TOTAL_BYTES)?
                .filter(|bytes| *bytes != 0)
                .unwrap_or(default.total_bytes),
            time: properties
                .number("timeLimitInSeconds", 1, Limits::MAX_SECONDS)?
                .map_or(default.time, Duration::from_secs),
        };
        Ok(Self {
            target: ResourceId::new(target),
            limits,
            filters: Self::read_filters(properties.get("filters"), "properties.filters")?,
            file_path: storage(properties.get("storageLocation"))?,
        })
    }

    /// A list of `PacketCaptureFilter`s.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_filters(list: Option<&Value>, place: &str) -> Result<Vec<Filter>, ArmError> {
        let items = match list {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(format_error(place, "a list is needed")),
        };
        if items.len() > MAX_FILTERS {
            let why = format!(
                "{} filters are more than the {MAX_FILTERS} that there may be",
                items.len()
            );
            return Err(ArmError::new("InvalidParameter", sentence(place, &why)).at(place));
        }
        let read = |(at, item): (usize, &Value)| filter(item, &format!("{place}[{at}]"));
        items.iter().enumerate().map(read).collect()
    }

    /// The file to write.
    ///
    /// # Errors
    /// `InvalidRequestFormat` where none was named.
    pub fn file(&self) -> Result<&str, ArmError> {
        let why = "the path of the file to write is needed";
        let missing = || format_error("properties.storageLocation.filePath", why);
        self.file_path.as_deref().ok_or_else(missing)
    }

    /// The properties, as Azure shows them.
    pub fn show(&self) -> Value {
        let filters: Vec<Value> = self.filters.iter().map(show_filter).collect();
        let storage = match &self.file_path {
            Some(path) => json!({ "filePath": path }),
            None => json!({}),
        };
        json!({
            "target": self.target.as_str(),
            "targetType": "AzureVM",
            "bytesToCapturePerPacket": self.limits.bytes_per_packet,
            "totalBytesPerSession": self.limits.total_bytes,
            "timeLimitInSeconds": self.limits.time.as_secs(),
            "storageLocation": storage,
            "filters": filters,
        })
    }
}

fn storage(value: Option<&Value>) -> Result<Option<String>, ArmError> {
    let place = Object::of(value, "properties.storageLocation")?;
    place.only(&["filePath", "storageId", "storagePath", "localPath"])?;
    for name in ["storageId", "storagePath", "localPath"] {
        if place.asks(name) {
            let why = "there are no storage accounts here: give filePath, a file on this host";
            return Err(
                ArmError::new("NotSupported", sentence(&place.place(name), why))
                    .at(place.place(name)),
            );
        }
    }
    let path = place.text("filePath")?.filter(|text| !text.is_empty());
    Ok(path.map(str::to_owned))
}

fn filter(item: &Value, place: &str) -> Result<Filter, ArmError> {
    let fields = Object::of(Some(item), place)?;
    fields.only(&[
        "protocol",
        "localIPAddress",
        "remoteIPAddress",
        "localPort",
        "remotePort",
    ])?;
    let protocol = match fields.text("protocol")? {
        None => Protocol::Any,
        Some(text) => Protocol::parse(text).ok_or_else(|| {
            let why = format!("'{}' is none of Any, TCP, UDP and ICMP", cut(text));
            invalid(&fields.place("protocol"), &why)
        })?,
    };
    let addresses = |name: &str| {
        let text = fields.text(name)?.unwrap_or_default();
        Addresses::parse(text).map_err(|why| invalid(&fields.place(name), &why))
    };
    let ports = |name: &str| {
        let text = fields.text_or_number(name)?;
        Ports::parse(&text).map_err(|why| invalid(&fields.place(name), &why))
    };
    Ok(Filter {
        protocol,
        local: addresses("localIPAddress")?,
        remote: addresses("remoteIPAddress")?,
        local_ports: ports("localPort")?,
        remote_ports: ports("remotePort")?,
    })
}

fn show_filter(filter: &Filter) -> Value {
    let mut shown = json!({ "protocol": filter.protocol.name() });
    for (name, text) in [
        ("localIPAddress", filter.local.to_string()),
        ("remoteIPAddress", filter.remote.to_string()),
        ("localPort", filter.local_ports.to_string()),
        ("remotePort", filter.remote_ports.to_string()),
    ] {
        if !text.is_empty() {
            shown[name] = text.into();
        }
    }
    shown
}

/// An object of a body, whose names compare without case.
struct Object<'a> {
    fields: Option<&'a Map<String, Value>>,
    path: &'a str,
}

impl<'a> Object<'a> {
    fn of(value: Option<&'a Value>, path: &'a str) -> Result<Self, ArmError> {
        let fields = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(_) => return Err(format_error(path, "an object is needed")),
        };
        Ok(Self { fields, path })
    }

    fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let (_, value) = self
            .fields?
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value).filter(|value| !value.is_null())
    }

    /// Whether it says more than that there is nothing.
    fn asks(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| match value {
            Value::Bool(yes) => *yes,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            // `{"include": [], "exclude": []}`
            Value::Object(fields) => fields.values().any(|field| {
                !field.is_null() && field.as_array().is_none_or(|all| !all.is_empty())
            }),
            _ => true,
        })
    }

    fn only(&self, known: &[&str]) -> Result<(), ArmError> {
        let mut names = self.fields.into_iter().flat_map(Map::keys);
        let stray = |name: &&String| !known.iter().any(|known| known.eq_ignore_ascii_case(name));
        match names.find(stray) {
            None => Ok(()),
            Some(name) => Err(format_error(
                &self.place(&cut(name)),
                &format!(
                    "there is no such property: remove it; there are {}",
                    known.join(", ")
                ),
            )),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, ArmError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format_error(&self.place(name), "a string is needed")),
        }
    }

    fn text_or_number(&self, name: &str) -> Result<String, ArmError> {
        match self.get(name) {
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => Ok(self.text(name)?.unwrap_or_default().to_owned()),
        }
    }

    fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ArmError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            // As the Azure CLI writes some of them.
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .map(Some)
            .ok_or_else(|| {
                invalid(
                    &self.place(name),
                    &format!("a whole number from {least} to {most} is needed"),
                )
            })
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

fn sentence(place: &str, why: &str) -> String {
    format!("The packet capture is not valid: {place}: {why}.")
}

fn format_error(place: &str, why: &str) -> ArmError {
    ArmError::new("InvalidRequestFormat", sentence(place, why)).at(place)
}

fn invalid(place: &str, why: &str) -> ArmError {
    ArmError::new("InvalidParameter", sentence(place, why)).at(place)
}

fn not_supported(place: &str) -> ArmError {
    let why = "it is not supported here: remove it";
    ArmError::new("NotSupported", sentence(place, why)).at(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: Value) -> Result<Settings, ArmError> {
        let body = json!({ "properties": properties });
        Settings::read(body.as_object().unwrap())
    }

    /// As `az network watcher packet-capture create` sends it.
    fn sent() -> Value {
        json!({
            "target": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm1",
            "bytesToCapturePerPacket": 96,
            "totalBytesPerSession": 1_000_000,
            "timeLimitInSeconds": 60,
            "storageLocation": { "filePath": "/var/captures/one.pcapng" },
            "filters": [
                { "protocol": "TCP", "localIPAddress": "10.0.0.4", "remotePort": "443;8080-8090" },
                { "protocol": "udp", "localPort": 53 },
            ],
        })
    }

    #[test]
    fn what_is_sent_is_read_and_shown() {
        let settings = read(sent()).unwrap();
        assert_eq!(settings.limits.bytes_per_packet, 96);
        assert_eq!(settings.limits.time, Duration::from_secs(60));
        assert_eq!(settings.filters.len(), 2);
        let shown = settings.show();
        assert_eq!(shown["filters"][0]["remotePort"], "443;8080-8090");
        assert_eq!(read(shown).unwrap(), settings);
    }

    #[test]
    fn defaults_are_azures() {
        let settings = read(json!({
            "target": "vm1",
            "storageLocation": { "filePath": "/var/captures/one.pcapng" },
        }));
        let settings = settings.unwrap();
        assert_eq!(settings.limits, Limits::default());
        assert!(settings.filters.is_empty());
    }

    #[test]
    fn each_mistake_is_told_by_its_place() {
        for (name, value, code) in [
            ("target", json!(""), "InvalidRequestFormat"),
            ("target", json!(5), "InvalidRequestFormat"),
            ("timeLimitInSeconds", json!(18_001), "InvalidParameter"),
            ("timeLimitInSeconds", json!(0), "InvalidParameter"),
            (
                "totalBytesPerSession",
                json!(4_294_967_296u64),
                "InvalidParameter",
            ),
            ("bytesToCapturePerPacket", json!(-1), "InvalidParameter"),
            (
                "storageLocation",
                json!({ "storageId": "/x", "filePath": "/y" }),
                "NotSupported",
            ),
            ("continuousCapture", json!(true), "NotSupported"),
            ("targetType", json!("AzureVMSS"), "NotSupported"),
            ("filters", json!({}), "InvalidRequestFormat"),
            (
                "filters",
                json!([{ "protocol": "SCTP" }]),
                "InvalidParameter",
            ),
            (
                "filters",
                json!([{ "localIPAddress": "10.0.0" }]),
                "InvalidParameter",
            ),
            (
                "filters",
                json!([{ "remotePort": "70000" }]),
                "InvalidParameter",
            ),
            ("filters", json!([{ "port": "7" }]), "InvalidRequestFormat"),
            (
                "filters",
                json!([{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]),
                "InvalidParameter",
            ),
            ("speed", json!(1), "InvalidRequestFormat"),
        ] {
            let mut properties = sent();
            properties[name] = value.clone();
            let error = read(properties).unwrap_err();
            assert_eq!(error.code, code, "{name} {value}: {error}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(!error.to_string().contains('\n'));
        }
        let error = read(json!([])).unwrap_err();
        assert_eq!(error.code, "InvalidRequestFormat");
        let mut properties = sent();
        properties["storageLocation"] = json!({});
        let error = read(properties).unwrap().file().unwrap_err();
        assert!(error.to_string().contains("filePath"), "{error}");
    }
}
