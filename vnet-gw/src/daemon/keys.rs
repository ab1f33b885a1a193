//! Shared keys that the template does not carry: made here, or set by the administrator, and kept
//! where only root reads them.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use vnet_gw_core::{crypto::SystemRandom, ike::Random, model::ResourceId, secret::Secret};
use zeroize::Zeroizing;

use crate::{control::KeyText, datapath::Instance};

/// How long a key is that nobody gave a length for.
pub const KEY_LENGTH: usize = 32;
/// Azure's longest.
pub const KEY_LONGEST: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the shared keys in {path}: {source}; run as root")]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the shared keys in {path}: {why}; put the file back as it was, or remove it and set the \
         keys anew"
    )]
    Content { path: PathBuf, why: String },
    #[error(
        "a shared key is 1 to {KEY_LONGEST} printable ASCII characters without spaces, '-' and \
         '~': {0}"
    )]
    Form(String),
}

/// Keys by connection.
pub type SharedKeys = BTreeMap<ResourceId, Secret>;

/// The file of an instance: `/var/lib/vnet-gw/INSTANCE/shared-keys.json`. Clones are of one file,
/// and change it one after the other.
#[derive(Clone, Debug)]
pub struct KeyStore {
    path: PathBuf,
    change: Arc<Mutex<()>>,
}

/// What is read of the file; what else is in it is of a later version.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadFile {
    shared_keys: BTreeMap<String, KeyText>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenFile<'a> {
    version: u32,
    shared_keys: BTreeMap<&'a str, &'a str>,
}

impl KeyStore {
    /// Where instances keep what outlives them.
    pub const STATE: &str = "/var/lib/vnet-gw";

    pub fn new(state: &Path, instance: &Instance) -> Self {
        Self {
            path: state.join(&instance.name).join("shared-keys.json"),
            change: Arc::default(),
        }
    }

    /// The keys, once every connection in `groups` has one: those of a group share theirs. New ones
    /// are in the file before anyone sees them.
    pub fn complete(&self, groups: &[Vec<ResourceId>]) -> Result<SharedKeys, KeyError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.read()?;
        let mut changed = false;
        for group in groups {
            let known = group.iter().find_map(|id| keys.get(id)).cloned();
            let key = known.unwrap_or_else(|| generate(KEY_LENGTH));
            for id in group {
                if keys.get(id) != Some(&key) {
                    keys.insert(id.clone(), key.clone());
                    changed = true;
                }
            }
        }
        if changed {
            self.write(&keys)?;
        }
        Ok(keys)
    }

    /// Gives all of a group that key.
    pub fn set(&self, group: &[ResourceId], key: &Secret) -> Result<(), KeyError> {
        let _change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.read()?;
        for id in group {
            keys.insert(id.clone(), key.clone());
        }
        self.write(&keys)
    }

    fn read(&self) -> Result<SharedKeys, KeyError> {
        let text = match fs::read(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SharedKeys::new()),
            Err(source) => return Err(self.io(source)),
        };
        // Its text may hold what was in the file, so the parser's words are not repeated.
        let file: ReadFile = serde_json::from_slice(&text)
            .map_err(|_| self.content("it is no JSON with texts in \"sharedKeys\""))?;
        let mut keys = SharedKeys::new();
        for (id, key) in file.shared_keys {
            let key =
                parse(key.expose()).map_err(|error| self.content(&format!("{id}: {error}")))?;
            keys.insert(ResourceId::new(&id), key);
        }
        Ok(keys)
    }

    /// In one step, and on the disk when it returns: a key that a peer was told is not lost with
    /// the power.
    fn write(&self, keys: &SharedKeys) -> Result<(), KeyError> {
        let texts: Vec<(&str, Zeroizing<String>)> = keys
            .iter()
            .map(|(id, key)| (id.as_str(), text(key)))
            .collect();
        let file = WrittenFile {
            version: 1,
            shared_keys: texts.iter().map(|(id, key)| (*id, key.as_str())).collect(),
        };
        // What grows leaves copies behind: room for all, each character escaped.
        let room = texts
            .iter()
            .map(|(id, key)| 2 * (id.len() + key.len()) + 32);
        let mut bytes = Zeroizing::new(Vec::with_capacity(128 + room.sum::<usize>()));
        serde_json::to_writer_pretty(&mut *bytes, &file).map_err(|error| self.io(error.into()))?;
        bytes.push(b'\n');
        self.replace(&bytes).map_err(|source| self.io(source))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        if let Some(above) = directory.parent() {
            fs::create_dir_all(above)?;
        }
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            // Whatever it was before.
            _ => fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?,
        }
        let new = self.path.with_extension("json.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(directory)?.sync_all()
    }

    fn io(&self, source: io::Error) -> KeyError {
        KeyError::Io {
            path: self.path.clone(),
            source,
        }
    }

    fn content(&self, why: &str) -> KeyError {
        KeyError::Content {
            path: self.path.clone(),
            why: why.to_owned(),
        }
    }
}

/// A key as people write it.
pub fn parse(text: &str) -> Result<Secret, KeyError> {
    let length = text.chars().count();
    if length == 0 || length > KEY_LONGEST {
        return Err(KeyError::Form(format!("it has {length}")));
    }
    // The character itself would be a part of the key in a log.
    let bad = |c: char| !c.is_ascii_graphic() || c == '-' || c == '~';
    match text.chars().position(bad) {
        Some(at) => Err(KeyError::Form(format!("character {} is not one", at + 1))),
        None => Ok(Secret::new(text)),
    }
}

/// The characters of a key, which are ASCII.
pub fn text(key: &Secret) -> Zeroizing<String> {
    Zeroizing::new(String::from_utf8_lossy(key.expose()).into_owned())
}

/// Letters and digits, which no shell and no other vendor's field objects to: 5.95 bits each.
pub fn generate(length: usize) -> Secret {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut key = Zeroizing::new(Vec::with_capacity(length));
    let mut bytes = Zeroizing::new([0; 64]);
    while key.len() < length {
        SystemRandom.fill(&mut *bytes);
        // Above the last multiple of 62, some letters would be likelier than others.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let letters = fair.filter_map(|byte| LETTERS.get(usize::from(byte % 62)));
        let missing = length - key.len();
        key.extend(letters.take(missing));
    }
    Secret::new(key.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ResourceId {
        ResourceId::new(&format!(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/connections/{name}"
        ))
    }

    fn store(directory: &Path) -> KeyStore {
        let instance = Instance { name: "one".into() };
        KeyStore::new(&directory.join("lib"), &instance)
    }

    #[test]
    fn a_pair_shares_a_key_that_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let groups = [vec![id("a"), id("b")], vec![id("c")]];
        let keys = store.complete(&groups).unwrap();
        assert_eq!(keys[&id("a")], keys[&id("b")]);
        assert_ne!(keys[&id("a")], keys[&id("c")]);
        assert_eq!(keys[&id("a")].len(), 32);
        assert_eq!(store.complete(&groups).unwrap(), keys);

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = scratch.path().join("lib/one");
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("shared-keys.json")), 0o600);
        assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
    }

    #[test]
    fn a_connection_that_joins_a_pair_takes_its_key() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        let alone = store.complete(&[vec![id("b")]]).unwrap();
        let pair = store.complete(&[vec![id("a"), id("b")]]).unwrap();
        assert_eq!(pair[&id("a")], alone[&id("b")]);
        let key = parse("abc123").unwrap();
        store.set(&[id("a"), id("b")], &key).unwrap();
        let pair = store.complete(&[vec![id("a"), id("b")]]).unwrap();
        assert_eq!((&pair[&id("a")], &pair[&id("b")]), (&key, &key));
    }

    #[test]
    fn a_damaged_file_is_not_overwritten_nor_repeated() {
        let scratch = tempfile::tempdir().unwrap();
        let store = store(scratch.path());
        store.complete(&[vec![id("a")]]).unwrap();
        for text in [
            "{\"sharedKeys\": geheim",
            "[]",
            "{\"sharedKeys\":{\"a\":7}}",
            "{\"sharedKeys\":{\"a\":\"ge heim\"}}",
        ] {
            fs::write(&store.path, text).unwrap();
            let error = store.complete(&[vec![id("b")]]).unwrap_err().to_string();
            assert!(error.contains("set the keys anew"), "{error}");
            assert!(!error.contains("heim"), "{error}");
            assert_eq!(fs::read_to_string(&store.path).unwrap(), text);
        }
    }

    #[test]
    fn keys_are_of_azures_characters() {
        for length in [1, 32, 128] {
            let key = generate(length);
            assert_eq!(key.len(), length);
            assert_eq!(parse(&text(&key)).unwrap(), key);
        }
        assert_ne!(generate(32), generate(32));
        for bad in [
            "",
            "a b",
            "a-b",
            "a~b",
            "schlüssel",
            "a\n",
            &"x".repeat(129),
        ] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
        assert!(parse("!\"#$%&'()*+,./:;<=>?@[\\]^_`{|}").is_ok());
    }
}
