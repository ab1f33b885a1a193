//! The certificate of the API: made by a local CA that is made at the first start, or brought by
//! the operator.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use time::OffsetDateTime;

use super::files;

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca-key.pem";
/// How long the CA is good for.
const CA_YEARS: i64 = 10;
/// How long a certificate is good for; it is made anew well before, and with every start.
const DAYS: i64 = 90;
const RENEW_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the API's certificate is made of.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Where the CA is kept.
    pub directory: PathBuf,
    /// Where its certificate is shown to everybody on this host.
    pub published: Option<PathBuf>,
    /// Names and addresses it is for, besides this host's own and loopback's.
    pub names: Vec<String>,
    /// The operator's own: certificate chain and key, both PEM.
    pub own: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {why}")]
    Content { path: PathBuf, why: String },
    #[error("the certificate of the API could not be made: {0}")]
    Make(#[from] rcgen::Error),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What the listener speaks TLS with, 1.2 and 1.3.
///
/// # Errors
///
/// Where a file is not readable or not what it should be; what is there is left as it is.
pub fn tls(options: &TlsOptions) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_no_client_auth();
    let mut config = match &options.own {
        Some((chain, key)) => {
            let (chain, key) = own(chain, key)?;
            builder.with_single_cert(chain, key)?
        }
        None => builder.with_cert_resolver(Arc::new(Local::open(options)?)),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn own(
    chain: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let content = |path: &Path, why: &str| TlsError::Content {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let read = |path: &Path| {
        fs::read(path)
            .map(zeroize::Zeroizing::new)
            .map_err(|source| TlsError::Io {
                path: path.to_owned(),
                source,
            })
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(chain)?).collect();
    let certificates = certificates
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| content(chain, "it has no certificate in PEM; give the server's, and those between it and its CA behind it"))?;
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| content(key, "it has no private key in PEM (PKCS#8, PKCS#1 or SEC1)"))?;
    Ok((certificates, key_der))
}

/// Certificates by the local CA, made anew before they expire.
struct Local {
    names: Vec<String>,
    issuer: Issuer<'static, KeyPair>,
    authority: CertificateDer<'static>,
    current: Mutex<(Instant, Arc<CertifiedKey>)>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Local({:?})", self.names)
    }
}

impl Local {
    fn open(options: &TlsOptions) -> Result<Self, TlsError> {
        let (authority, issuer) = authority(&options.directory)?;
        if let Some(path) = &options.published {
            files::write(path, &authority, 0o644).map_err(|source| TlsError::Io {
                path: path.clone(),
                source,
            })?;
        }
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).map_err(|_| {
            TlsError::Content {
                path: options.directory.join(CA),
                why: "it is no certificate in PEM".to_owned(),
            }
        })?;
        let names = names(&options.names);
        let first = certificate(&names, &issuer, &authority)?;
        Ok(Self {
            names,
            issuer,
            authority,
            current: Mutex::new((Instant::now(), Arc::new(first))),
        })
    }
}

impl ResolvesServerCert for Local {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() > RENEW_AFTER {
            match certificate(&self.names, &self.issuer, &self.authority) {
                Ok(new) => *current = (Instant::now(), Arc::new(new)),
                // The one in use is good for some time yet.
                Err(error) => log::error!("{error}"),
            }
        }
        Some(Arc::clone(&current.1))
    }
}

/// This host's names and addresses, and those that were asked for.
fn names(more: &[String]) -> Vec<String> {
    let host = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    let own = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names = Vec::new();
    for name in own.into_iter().chain(host).chain(more.iter().cloned()) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The CA's certificate as PEM, and what signs with it.
fn authority(directory: &Path) -> Result<(String, Issuer<'static, KeyPair>), TlsError> {
    let (path, key_path) = (directory.join(CA), directory.join(CA_KEY));
    let read = |path: &Path| {
        files::read(path).map_err(|source| TlsError::Io {
            path: path.to_owned(),
            source,
        })
    };
    let content = |path: &Path, why: &str| TlsError::Content {
        path: path.to_owned(),
        why: format!(
            "{why}; restore it, or remove {CA} and {CA_KEY} for a new CA, which every client must then trust"
        ),
    };
    match (read(&path)?, read(&key_path)?) {
        (Some(pem), Some(key)) => {
            let key = KeyPair::from_pem(&key)
                .map_err(|_| content(&key_path, "it is no private key in PEM"))?;
            let own_key = CertificateDer::from_pem_slice(pem.as_bytes())
                .ok()
                .is_some_and(|der| contains(&der, key.public_key_raw()));
            if !own_key {
                return Err(content(&path, "it is not the certificate of the CA's key"));
            }
            // It was made by `ca_params` with this key; the name is all that matters here.
            Ok((pem.to_string(), Issuer::new(ca_params(), key)))
        }
        (None, None) => {
            let key = KeyPair::generate()?;
            let certificate = ca_params().self_signed(&key)?;
            let write = |path: &Path, text: &str, mode| {
                files::write(path, text, mode).map_err(|source| TlsError::Io {
                    path: path.to_owned(),
                    source,
                })
            };
            let pem = certificate.pem();
            let key_pem = zeroize::Zeroizing::new(key.serialize_pem());
            write(&key_path, &key_pem, 0o600)?;
            write(&path, &pem, 0o644)?;
            Ok((pem, Issuer::new(ca_params(), key)))
        }
        // A crash between the two: nobody has seen that CA.
        (None, Some(_)) => {
            fs::remove_file(&key_path).map_err(|source| TlsError::Io {
                path: key_path.clone(),
                source,
            })?;
            authority(directory)
        }
        (Some(_), None) => Err(content(
            &key_path,
            "it is missing, and its certificate is there",
        )),
    }
}

/// Whether the bytes of a public key stand in a certificate.
fn contains(certificate: &[u8], key: &[u8]) -> bool {
    certificate.windows(key.len()).any(|window| window == key)
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "vnet-gw local CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(365 * CA_YEARS);
    params
}

fn certificate(
    names: &[String],
    issuer: &Issuer<'static, KeyPair>,
    authority: &CertificateDer<'static>,
) -> Result<CertifiedKey, TlsError> {
    let mut params = CertificateParams::default();
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        };
        params.subject_alt_names.push(name);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, "vnet-gw");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(DAYS);
    let key = KeyPair::generate()?;
    let signed = params.signed_by(&key, issuer)?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![signed.der().clone(), authority.clone()];
    Ok(CertifiedKey::new(chain, any_supported_type(&der)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(directory: &Path) -> TlsOptions {
        TlsOptions {
            directory: directory.to_owned(),
            published: Some(directory.join("published.pem")),
            names: vec!["gw.example".to_owned(), "192.0.2.1".to_owned()],
            own: None,
        }
    }

    #[test]
    fn the_ca_stays_and_its_key_is_roots() {
        let scratch = tempfile::tempdir().unwrap();
        tls(&options(scratch.path())).unwrap();
        let ca = fs::read(scratch.path().join(CA)).unwrap();
        tls(&options(scratch.path())).unwrap();
        assert_eq!(fs::read(scratch.path().join(CA)).unwrap(), ca);
        assert_eq!(fs::read(scratch.path().join("published.pem")).unwrap(), ca);
        let mode = |name: &str| {
            let meta = fs::metadata(scratch.path().join(name)).unwrap();
            meta.permissions().mode() & 0o777
        };
        assert_eq!((mode(CA), mode(CA_KEY)), (0o644, 0o600));
    }

    #[test]
    fn a_half_made_ca_is_made_anew_and_a_damaged_one_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        tls(&options(scratch.path())).unwrap();
        fs::remove_file(scratch.path().join(CA)).unwrap();
        tls(&options(scratch.path())).unwrap();

        let other = tempfile::tempdir().unwrap();
        tls(&options(other.path())).unwrap();
        fs::copy(other.path().join(CA_KEY), scratch.path().join(CA_KEY)).unwrap();
        let error = tls(&options(scratch.path())).unwrap_err().to_string();
        assert!(
            error.contains("not the certificate of the CA's key"),
            "{error}"
        );
        fs::remove_file(scratch.path().join(CA_KEY)).unwrap();
        let error = tls(&options(scratch.path())).unwrap_err().to_string();
        assert!(error.contains("it is missing"), "{error}");
    }

    #[test]
    fn the_operators_own_is_taken_or_refused_by_file() {
        let scratch = tempfile::tempdir().unwrap();
        let (chain, key) = (scratch.path().join("c.pem"), scratch.path().join("k.pem"));
        let pair = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["gw.example".to_owned()]).unwrap();
        fs::write(&chain, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        let mut options = options(scratch.path());
        options.own = Some((chain.clone(), key.clone()));
        tls(&options).unwrap();
        assert!(!scratch.path().join(CA).exists());

        fs::write(&key, "geheim").unwrap();
        let error = tls(&options).unwrap_err().to_string();
        assert!(error.contains("k.pem: it has no private key"), "{error}");
        assert!(!error.contains("geheim"));
        fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(tls(&options).is_err(), "the key of another certificate");
        fs::write(&chain, "").unwrap();
        let error = tls(&options).unwrap_err().to_string();
        assert!(error.contains("c.pem: it has no certificate"), "{error}");
    }
}
