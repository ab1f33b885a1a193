//! What is kept of Network Watcher's resources that run: captures and connection monitors, as they
//! were asked for.

use serde_json::{Map, Value, json};
use vnet_gw_core::{capture::Settings, model::ResourceId};

use crate::store::{Store, StoreError, Table, Write};

const CAPTURE: &str = "packetCapture:";
const MONITOR: &str = "connectionMonitor:";
/// Records read at once.
const PAGE: usize = 1024;

pub(crate) fn capture_key(id: &ResourceId) -> String {
    format!("{CAPTURE}{}", id.key())
}

pub(crate) fn monitor_key(id: &ResourceId) -> String {
    format!("{MONITOR}{}", id.key())
}

pub(crate) fn capture(id: &ResourceId, settings: &Settings) -> Write {
    let value = json!({ "id": id.as_str(), "properties": settings.show() });
    Write::put(Table::Instance, capture_key(id), value.to_string())
}

pub(crate) fn monitor(id: &ResourceId, body: &Map<String, Value>) -> Write {
    let value = json!({ "id": id.as_str(), "body": body });
    Write::put(Table::Instance, monitor_key(id), value.to_string())
}

/// Captures that were asked for before this daemon began.
pub(crate) fn captures(store: &dyn Store) -> Result<Vec<(ResourceId, Settings)>, StoreError> {
    let read = |value: &Map<String, Value>| Settings::read(value).ok();
    all(store, CAPTURE, read)
}

/// The body of a resource, as a client wrote it.
pub(crate) type Body = Map<String, Value>;

/// Connection monitors, with their bodies.
pub(crate) fn monitors(store: &dyn Store) -> Result<Vec<(ResourceId, Body)>, StoreError> {
    let read = |value: &Map<String, Value>| value.get("body")?.as_object().cloned();
    all(store, MONITOR, read)
}

fn all<T>(
    store: &dyn Store,
    prefix: &str,
    read: impl Fn(&Map<String, Value>) -> Option<T>,
) -> Result<Vec<(ResourceId, T)>, StoreError> {
    let (mut found, mut from) = (Vec::new(), prefix.to_owned());
    loop {
        let records = store.scan(Table::Instance, &from, PAGE)?;
        for (key, value) in &records {
            if !key.starts_with(prefix) {
                return Ok(found);
            }
            let value = serde_json::from_slice::<Map<String, Value>>(value).ok();
            let entry = value.as_ref().and_then(|value| {
                let id = value.get("id")?.as_str()?;
                Some((ResourceId::new(id), read(value)?))
            });
            match entry {
                Some(entry) => found.push(entry),
                // Of a later version, perhaps; it stays.
                None => log::warn!("the store's record {key} is not understood; it is left alone"),
            }
        }
        match records.last() {
            // The next key after it.
            Some((last, _)) if records.len() == PAGE => from = format!("{last}\0"),
            _ => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn what_is_kept_is_found_again() {
        let store = MemoryStore::new();
        let body = json!({"properties": {
            "target": "/nic", "storageLocation": {"filePath": "/var/captures/a"},
        }});
        let settings = Settings::read(body.as_object().unwrap()).unwrap();
        let (a, b) = (ResourceId::new("/x/A"), ResourceId::new("/x/b"));
        let text = json!({"properties": {"autoStart": true}});
        let writes = [
            capture(&a, &settings),
            capture(&b, &settings),
            monitor(&a, text.as_object().unwrap()),
            Write::put(Table::Instance, "packetCaptureX", "{}"),
            Write::put(Table::Instance, "packetCapture:/x/broken", "{"),
        ];
        store.commit(None, &writes).unwrap();
        let found = captures(&store).unwrap();
        assert_eq!(found, [(a.clone(), settings.clone()), (b, settings)]);
        assert_eq!(found[0].0.as_str(), "/x/A");
        assert_eq!(monitors(&store).unwrap()[0].0, a);
        store
            .commit(None, &[Write::remove(Table::Instance, capture_key(&a))])
            .unwrap();
        assert_eq!(captures(&store).unwrap().len(), 1);
    }
}
