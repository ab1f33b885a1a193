//! Shared keys: what they are made of, and those that were kept before there was a store.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use vnet_gw_core::{crypto::SystemRandom, ike::Random, model::ResourceId, secret::Secret};
use zeroize::Zeroizing;

use crate::control::KeyText;

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

/// Where an instance kept its keys before it had a store: `shared-keys.json` in its state directory.
/// They are taken over once.
#[derive(Debug)]
pub(super) struct OldKeys {
    path: PathBuf,
    pub(super) keys: SharedKeys,
}

/// What is read of the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadFile {
    shared_keys: BTreeMap<String, KeyText>,
}

impl OldKeys {
    /// Nothing where there is no such file, or not any more.
    pub(super) fn read(state: &Path) -> Result<Option<Self>, KeyError> {
        let path = state.join("shared-keys.json");
        let text = match fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(KeyError::Io { path, source }),
        };
        let content = |why: &str| KeyError::Content {
            path: path.clone(),
            why: why.to_owned(),
        };
        // Its text may hold what was in the file, so the parser's words are not repeated.
        let file: ReadFile = serde_json::from_slice(&text)
            .map_err(|_| content("it is no JSON with texts in \"sharedKeys\""))?;
        let mut keys = SharedKeys::new();
        for (id, key) in file.shared_keys {
            let key = parse(key.expose()).map_err(|error| content(&format!("{id}: {error}")))?;
            keys.insert(ResourceId::new(&id), key);
        }
        Ok(Some(Self { path, keys }))
    }

    /// They are in the store.
    pub(super) fn taken_over(&self) -> Result<(), KeyError> {
        let imported = self.path.with_extension("json.imported");
        fs::rename(&self.path, &imported).map_err(|source| KeyError::Io {
            path: self.path.clone(),
            source,
        })
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

    #[test]
    fn keys_of_earlier_versions_are_found_until_they_are_taken_over() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path();
        assert!(OldKeys::read(directory).unwrap().is_none());
        let path = directory.join("shared-keys.json");
        fs::write(&path, r#"{"version": 1, "sharedKeys": {"/A": "abc123"}}"#).unwrap();
        let old = OldKeys::read(directory).unwrap().unwrap();
        assert_eq!(old.keys[&ResourceId::new("/a")], parse("abc123").unwrap());
        old.taken_over().unwrap();
        assert!(OldKeys::read(directory).unwrap().is_none());
        assert!(directory.join("shared-keys.json.imported").exists());
    }

    #[test]
    fn a_damaged_file_is_told_and_not_repeated() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("shared-keys.json");
        for text in [
            "{\"sharedKeys\": geheim",
            "[]",
            "{\"sharedKeys\":{\"a\":7}}",
            "{\"sharedKeys\":{\"a\":\"ge heim\"}}",
        ] {
            fs::write(&path, text).unwrap();
            let error = OldKeys::read(scratch.path()).unwrap_err().to_string();
            assert!(error.contains("set the keys anew"), "{error}");
            assert!(!error.contains("heim"), "{error}");
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
