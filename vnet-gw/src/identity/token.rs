//! Tokens: JWTs (RFC 7519) signed with ES256 by a key of this instance.

use std::{path::Path, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Denied, IdentityError, Principal, files,
    verified::{Said, Verified},
};

/// Azure's audience of its Resource Manager; whatever of its names a client asks for.
pub(super) const AUDIENCE: &str = "https://management.core.windows.net/";

/// As long as Azure's are good for, roughly.
const LIFETIME_SECONDS: u64 = 3600;
/// Clocks differ by that much.
const LEEWAY_SECONDS: u64 = 30;
/// The file in the state directory.
const FILE: &str = "token-key.pem";

/// No token of ours is longer.
const LONGEST: usize = 4096;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    oid: String,
    appid: String,
    tid: String,
    idtyp: String,
    ver: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

pub(super) struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// `kid`
    id: String,
    /// Coordinates of the public point, base64url.
    x: String,
    y: String,
    verified: Verified,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({})", self.id)
    }
}

impl TokenKey {
    /// The key in the directory, which is made where there is none.
    pub(super) fn open(directory: &Path) -> Result<Self, IdentityError> {
        let path = directory.join(FILE);
        let wrong =
            |why: &dyn std::fmt::Display| IdentityError::Key(format!("{}: {why}", path.display()));
        let pem = match files::read(&path).map_err(|error| wrong(&error))? {
            Some(pem) => pem,
            None => {
                let key = rcgen::KeyPair::generate().map_err(|error| wrong(&error))?;
                let pem = Zeroizing::new(key.serialize_pem());
                files::write(&path, &pem, 0o600).map_err(|error| wrong(&error))?;
                pem
            }
        };
        Self::from_pem(&pem).map_err(|why| {
            wrong(&format!(
                "{why}; remove it for a new one, and sign in again"
            ))
        })
    }

    fn from_pem(pem: &str) -> Result<Self, String> {
        let pair =
            rcgen::KeyPair::from_pem(pem).map_err(|_| "it is no private key in PEM".to_owned())?;
        // The point, uncompressed: 04, x, y.
        let (x, y) = match pair.public_key_raw() {
            [4, point @ ..] if point.len() == 64 => point.split_at(32),
            _ => return Err("it is no key of the curve P-256".to_owned()),
        };
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        let encoding = EncodingKey::from_ec_pem(pem.as_bytes()).map_err(|e| e.to_string())?;
        let decoding = DecodingKey::from_ec_components(&x, &y).map_err(|e| e.to_string())?;
        // The key's own name: the same after a restart, another for another key.
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{x}.{y}").as_bytes()).to_string();
        Ok(Self {
            encoding,
            decoding,
            id,
            x,
            y,
            verified: Verified::default(),
        })
    }

    pub(super) fn key_set(&self) -> Value {
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256",
            "kid": self.id, "x": self.x, "y": self.y,
        }]})
    }

    /// A token, and how many seconds it is good for.
    pub(super) fn issue(
        &self,
        tenant: &str,
        principal: &Principal,
        now: SystemTime,
    ) -> Result<(Zeroizing<String>, u64), String> {
        let now = seconds(now);
        let claims = Claims {
            iss: issuer(tenant),
            aud: AUDIENCE.to_owned(),
            sub: principal.object_id.clone(),
            oid: principal.object_id.clone(),
            appid: principal.client_id.clone(),
            tid: tenant.to_owned(),
            idtyp: "app".to_owned(),
            ver: "1.0".to_owned(),
            iat: now,
            nbf: now,
            exp: now + LIFETIME_SECONDS,
            jti: Uuid::new_v4().to_string(),
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, &claims, &self.encoding)
            .map(|token| (Zeroizing::new(token), LIFETIME_SECONDS))
            .map_err(|error| error.to_string())
    }

    /// The client id in a token that this instance signed for itself and that is good now.
    pub(super) fn verify(&self, tenant: &str, token: &str) -> Result<String, Denied> {
        let now = seconds(SystemTime::now());
        if let Some(client_id) = self.verified.get(tenant, token, now) {
            return Ok(client_id);
        }
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[issuer(tenant)]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        if token.len() > LONGEST {
            return Err(invalid("it is too long"));
        }
        match jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation) {
            Ok(data) => {
                let said = Said {
                    tenant: tenant.to_owned(),
                    client_id: data.claims.appid.clone(),
                    not_before: data.claims.nbf.saturating_sub(LEEWAY_SECONDS),
                    expires: data.claims.exp.saturating_add(LEEWAY_SECONDS),
                };
                self.verified.add(token, said, now);
                Ok(data.claims.appid)
            }
            Err(error) => Err(match error.kind() {
                ErrorKind::ExpiredSignature => Denied {
                    status: 401,
                    code: "ExpiredAuthenticationToken".to_owned(),
                    message: "The access token has expired: sign in again.".to_owned(),
                    retry_after_seconds: None,
                },
                ErrorKind::InvalidIssuer => invalid("another issuer made it"),
                ErrorKind::InvalidAudience => invalid("it is for another audience"),
                ErrorKind::ImmatureSignature => invalid("it is not good yet"),
                ErrorKind::InvalidSignature => invalid("its signature is not this instance's"),
                _ => invalid("it is not well-formed"),
            }),
        }
    }
}

/// Names the instance by its tenant, whatever address it is reached at.
fn issuer(tenant: &str) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

fn invalid(why: &str) -> Denied {
    Denied {
        status: 401,
        code: "InvalidAuthenticationToken".to_owned(),
        message: format!("The access token is invalid: {why}. Sign in again."),
        retry_after_seconds: None,
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TENANT: &str = "11111111-2222-4333-8444-555555555555";

    fn key() -> TokenKey {
        let pair = rcgen::KeyPair::generate().unwrap();
        TokenKey::from_pem(&pair.serialize_pem()).unwrap()
    }

    fn principal() -> Principal {
        Principal::new("deploy")
    }

    #[test]
    fn a_token_is_good_for_its_instance_until_it_expires() {
        let (key, principal, now) = (key(), principal(), SystemTime::now());
        let (token, seconds) = key.issue(TENANT, &principal, now).unwrap();
        assert_eq!(seconds, 3600);
        assert_eq!(key.verify(TENANT, &token).unwrap(), principal.client_id);

        let code = |token: &str, tenant: &str| {
            let denied = key.verify(tenant, token).unwrap_err();
            assert_eq!(denied.status, 401);
            (denied.code, denied.message)
        };
        let hour = Duration::from_secs(3600 + LEEWAY_SECONDS + 5);
        let (old, _) = key.issue(TENANT, &principal, now - hour).unwrap();
        assert_eq!(code(&old, TENANT).0, "ExpiredAuthenticationToken");
        let (early, _) = key.issue(TENANT, &principal, now + hour).unwrap();
        assert!(code(&early, TENANT).1.contains("not good yet"));
        let other = "99999999-2222-4333-8444-555555555555";
        assert!(code(&token, other).1.contains("another issuer"));
        let (foreign, _) = super::tests::key().issue(TENANT, &principal, now).unwrap();
        assert!(code(&foreign, TENANT).1.contains("signature"));
        for forged in ["", "a", "a.b.c", "....", &"x".repeat(10_000)] {
            assert_eq!(code(forged, TENANT).0, "InvalidAuthenticationToken");
        }
    }

    #[test]
    fn a_changed_token_or_algorithm_is_refused() {
        let (key, principal) = (key(), principal());
        let (token, _) = key.issue(TENANT, &principal, SystemTime::now()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let claims = String::from_utf8(BASE64.decode(parts[1]).unwrap()).unwrap();
        let changed = claims.replace(&principal.client_id, &Uuid::new_v4().to_string());
        let changed = BASE64.encode(changed);
        for header in [
            parts[0].to_owned(),
            BASE64.encode(r#"{"alg":"none","typ":"JWT"}"#),
            BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        ] {
            let forged = format!("{header}.{changed}.{}", parts[2]);
            assert!(key.verify(TENANT, &forged).is_err(), "{header}");
            assert!(key.verify(TENANT, &format!("{header}.{changed}.")).is_err());
        }
    }

    #[test]
    fn the_key_stays_and_is_roots() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = tempfile::tempdir().unwrap();
        let first = TokenKey::open(scratch.path()).unwrap();
        let again = TokenKey::open(scratch.path()).unwrap();
        assert_eq!(first.id, again.id);
        let (token, _) = first
            .issue(TENANT, &principal(), SystemTime::now())
            .unwrap();
        assert!(again.verify(TENANT, &token).is_ok());
        let path = scratch.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "geheim").unwrap();
        let error = TokenKey::open(scratch.path()).unwrap_err().to_string();
        assert!(
            error.contains("remove it") && !error.contains("geheim"),
            "{error}"
        );
    }
}
