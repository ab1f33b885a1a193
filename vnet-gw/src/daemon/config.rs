//! The configuration's files: from bytes to a compiled image, or to what is wrong with them.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use vnet_gw_core::{
    compile::{CompileError, CompileOptions, Image, compile},
    model::{ArmError, DeployOptions, Topology, parse_parameters_file, parse_template},
    watcher::Predictor,
};

use zeroize::Zeroizing;

use super::{
    FileSet,
    keys::{KeyError, text},
};
use crate::engine::EngineError;

/// Where the configuration is, and what it is deployed with.
#[derive(Clone, Debug)]
pub struct ConfigFiles {
    pub template: PathBuf,
    pub parameters: Option<PathBuf>,
    /// `parameters` of it is filled from the file.
    pub deploy: DeployOptions,
    /// Compared with the tag `vnet-gw:host`.
    pub host_name: Option<String>,
}

/// A configuration that validates and fits the data path.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub topology: Arc<Topology>,
    pub image: Arc<Image>,
}

impl Loaded {
    /// Appliances that route to one another in a circle, a line each.
    pub fn route_loops(&self) -> Vec<String> {
        let predictor = Predictor::new(&self.topology, CompileOptions::default());
        let loops = predictor.route_loops();
        loops.iter().map(ToString::to_string).collect()
    }
}

/// Why the files are no configuration. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{option}{path}: {source}{}", remedy(.source))]
    Read {
        /// With a space behind it; empty for the template.
        option: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{path}: {error}")]
    Invalid { path: PathBuf, error: ArmError },
    #[error("{path}: {error}")]
    DoesNotFit { path: PathBuf, error: CompileError },
    /// It is as good as any, and something else is in its way.
    #[error("{path}: {error}")]
    NotTaken { path: PathBuf, error: EngineError },
    #[error("{0}")]
    Keys(#[from] KeyError),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::IsADirectory => "; give the file, not its directory",
        io::ErrorKind::InvalidData => "; give an ARM template or parameters file, which is JSON",
        io::ErrorKind::NotFound => "; give the path of a file that exists",
        _ => "",
    }
}

impl LoadError {
    /// One line for each thing that is wrong.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Invalid { path, error } => error
                .lines()
                .iter()
                .map(|line| format!("{}: {line}", path.display()))
                .collect(),
            _ => vec![self.to_string()],
        }
    }

    /// The body of a REST answer: `{"error":{"code","message",…}}`.
    pub fn body(&self) -> serde_json::Value {
        match self {
            Self::Invalid { error, .. } => error.body(),
            Self::Read { .. } | Self::Keys(_) => {
                ArmError::new("FileNotReadable", self.to_string()).body()
            }
            Self::NotTaken { .. } => ArmError::new("ServiceUnavailable", self.to_string()).body(),
            Self::DoesNotFit { error, .. } => {
                ArmError::new("NetworkingInternalOperationError", error.to_string()).body()
            }
        }
    }
}

impl ConfigFiles {
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.template), self.parameters.as_ref()]
            .into_iter()
            .flatten()
            .map(PathBuf::as_path)
    }

    /// As the audit log names it.
    pub(super) fn name(&self) -> String {
        let path = std::path::absolute(&self.template);
        path.unwrap_or_else(|_| self.template.clone())
            .display()
            .to_string()
    }

    /// Reads, validates and compiles. Connections for which the template has no key have no tunnels.
    pub fn load(&self) -> Result<Loaded, LoadError> {
        let topology = self.topology()?;
        let options = CompileOptions {
            host_name: self.host_name.as_deref(),
            ..CompileOptions::default()
        };
        let image = compile(&topology, &options, None);
        let image = image.map_err(|error| LoadError::DoesNotFit {
            path: self.template.clone(),
            error,
        })?;
        Ok(Loaded {
            topology: Arc::new(topology),
            image: Arc::new(image),
        })
    }

    /// Reads and validates, for the resources that are there to be made those of the template.
    pub fn file_set(&self) -> Result<FileSet, LoadError> {
        let begun = Instant::now();
        let set = self.with_options(|options| {
            let text = read("", &self.template)?;
            let topology = parse_template(&text, options).map_err(|error| self.invalid(error))?;
            for path in self.open_with_keys(&topology) {
                log::warn!(
                    "{}: it has shared keys, and everybody may read it; take that away with chmod \
                     o-r",
                    path.display()
                );
            }
            FileSet::read(&text, options, &topology).map_err(|error| self.invalid(error))
        });
        log::debug!(
            "{}: read and validated in {:.1?}",
            self.template.display(),
            begun.elapsed(),
        );
        set
    }

    /// Reads and validates.
    pub fn topology(&self) -> Result<Topology, LoadError> {
        self.with_options(|options| {
            parse_template(&read("", &self.template)?, options).map_err(|error| self.invalid(error))
        })
    }

    /// With the parameters, which are wiped afterwards.
    fn with_options<T>(
        &self,
        work: impl FnOnce(&DeployOptions) -> Result<T, LoadError>,
    ) -> Result<T, LoadError> {
        let mut options = self.deploy.clone();
        if let Some(path) = &self.parameters {
            options.parameters =
                parse_parameters_file(&read("--parameters ", path)?).map_err(|error| {
                    LoadError::Invalid {
                        path: path.clone(),
                        error,
                    }
                })?;
        }
        let result = work(&options);
        options.wipe();
        result
    }

    /// What the engine says of the file's resources.
    pub(super) fn refused(&self, error: EngineError) -> LoadError {
        match error {
            EngineError::Invalid(error) => self.invalid(error),
            error => LoadError::NotTaken {
                path: self.template.clone(),
                error,
            },
        }
    }

    fn invalid(&self, error: ArmError) -> LoadError {
        LoadError::Invalid {
            path: self.template.clone(),
            error,
        }
    }

    /// Files that everybody may read, with a connection's key in them.
    fn open_with_keys(&self, topology: &Topology) -> Vec<&Path> {
        let connections = topology.connections.values();
        let keys: Vec<_> = connections
            .filter_map(|connection| connection.shared_key.as_ref())
            .take(KEYS_LOOKED_FOR)
            .map(text)
            .collect();
        let open = |path: &&Path| {
            fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o004 != 0)
                && read("", path).is_ok_and(|text| keys.iter().any(|key| text.contains(&**key)))
        };
        match keys.is_empty() {
            true => Vec::new(),
            false => self.paths().filter(open).collect(),
        }
    }

    /// What tells one version of the files from another, without reading them: a link that is
    /// turned to another file is seen as well as a file that is written or replaced.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let of = |path: &Path| {
            let meta = fs::metadata(path).ok()?;
            Some([
                meta.dev(),
                meta.ino(),
                meta.size(),
                meta.mtime().cast_unsigned(),
                meta.mtime_nsec().cast_unsigned(),
            ])
        };
        Fingerprint(self.paths().map(of).collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<Option<[u64; 5]>>);

/// A file with keys has one of these, and a thousand connections are not all looked for.
const KEYS_LOOKED_FOR: usize = 16;

/// Wiped when it goes: it may have keys in it.
fn read(option: &'static str, path: &Path) -> Result<Zeroizing<String>, LoadError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(source) => Err(LoadError::Read {
            option,
            path: shown(path),
            source,
        }),
    }
}

/// A path that does not exist, as an error names it. `NAME=VALUE` or JSON, as other tools take them
/// there, is no path and may be a key.
fn shown(path: &Path) -> PathBuf {
    let text = path.to_string_lossy();
    if path.exists() || !(text.contains('=') || text.starts_with('{')) {
        return path.to_owned();
    }
    match text.split_once(['=', '{']) {
        Some((name, _)) if !name.is_empty() => format!("{name}=…").into(),
        _ => "{…}".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn files(directory: &Path, parameters: &str) -> ConfigFiles {
        ConfigFiles {
            template: directory.join("template.json"),
            parameters: (!parameters.is_empty()).then(|| directory.join(parameters)),
            deploy: DeployOptions::default(),
            host_name: None,
        }
    }

    #[test]
    fn values_in_place_of_a_file_are_not_repeated() {
        let scratch = tempfile::tempdir().unwrap();
        for (given, said) in [
            ("psk=Geheim1", "psk=…"),
            ("{\"psk\":{\"value\":\"Geheim1\"}}", "{…}"),
            ("none.json", "none.json"),
        ] {
            let mut files = files(scratch.path(), given);
            files.parameters = Some(given.into());
            let error = files.topology().unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("Geheim"), "{error}");
        }
    }

    #[test]
    fn files_with_keys_that_everybody_may_read_are_found() {
        let scratch = tempfile::tempdir().unwrap();
        let files = files(scratch.path(), "parameters.json");
        let parameter = r#"{"type": "securestring"}"#;
        let text = include_str!("../../core/tests/fixtures/gateways.json");
        let key = "MadeUpKey1";
        let mut template: serde_json::Value = serde_json::from_str(text).unwrap();
        template["parameters"]["psk"] = serde_json::from_str(parameter).unwrap();
        for resource in template["resources"].as_array_mut().unwrap() {
            if resource["type"] == "Microsoft.Network/connections" {
                resource["properties"]["sharedKey"] = "[parameters('psk')]".into();
            }
        }
        let parameters = format!(r#"{{"psk": "{key}"}}"#);
        let paths = [&files.template, files.parameters.as_ref().unwrap()];
        for (path, text) in paths.iter().zip([template.to_string(), parameters]) {
            fs::write(path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        let topology = files.topology().unwrap();
        assert_eq!(files.open_with_keys(&topology), [paths[1]]);
        fs::set_permissions(paths[1], fs::Permissions::from_mode(0o640)).unwrap();
        assert!(files.open_with_keys(&topology).is_empty());
    }
}
