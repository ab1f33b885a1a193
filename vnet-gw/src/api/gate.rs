//! Who asks: before anything else of a request is looked at, its body above all.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header, request::Parts},
};

use super::{Api, Call, Path, Peer, Query, Refusal, RequestIds, body};
use crate::{
    engine::{Caller, Who},
    identity::{Access, Denied},
};

/// The longest token that is looked at.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Lets a request in, and reads it.
pub(super) async fn enter(api: &Api, request: Request) -> Result<Call, Refusal> {
    let (parts, body) = request.into_parts();
    let Some(peer) = parts.extensions.get::<Peer>().cloned() else {
        return Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "Where the request comes from is not known.",
        ));
    };
    let scheme = match peer {
        Peer::Network(_) => "https",
        Peer::Local(..) => "http",
    };
    let base = format!("{scheme}://{}", host(&parts)?);
    let (who, access, address) = match peer {
        Peer::Local(who, access) => (who, access, None),
        Peer::Network(address) => {
            let (who, access) = token(&parts.headers)
                .and_then(|token| api.authenticator.bearer(token, address))
                .map_err(|denied| challenge(denied, &base, &api.settings.tenant))?;
            (who, access, Some(address))
        }
    };
    let call = read(parts, body, &base, who, access, address).await?;
    Ok(call)
}

async fn read(
    parts: Parts,
    body: axum::body::Body,
    base: &str,
    who: Who,
    access: Access,
    address: Option<std::net::SocketAddr>,
) -> Result<Call, Refusal> {
    let correlation_id = parts
        .extensions
        .get::<RequestIds>()
        .map(|ids| ids.correlation.clone())
        .unwrap_or_default();
    let path = Path::parse(parts.uri.path())?;
    let query = Query::parse(parts.uri.query().unwrap_or_default())?;
    let body = body::read(&parts.headers, body).await?;
    Ok(Call {
        method: parts.method,
        path,
        query,
        headers: parts.headers,
        body,
        caller: Caller {
            who,
            address,
            correlation_id,
        },
        access,
        base: base.to_owned(),
    })
}

/// What the client calls this host: absolute URLs begin with it.
fn host(parts: &Parts) -> Result<String, Refusal> {
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let header = || parts.headers.get(header::HOST)?.to_str().ok();
    let host = authority.or_else(header).unwrap_or("localhost");
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    match host.len() <= 255 && !host.is_empty() && host.chars().all(allowed) {
        true => Ok(host.to_owned()),
        false => Err(Refusal::bad(
            "InvalidHeaderValue",
            "The Host header is not the name of a host.",
        )),
    }
}

fn token(headers: &HeaderMap) -> Result<&str, Denied> {
    let missing = |message: &str| Denied {
        status: 401,
        code: "AuthenticationFailed".to_owned(),
        message: message.to_owned(),
        retry_after_seconds: None,
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err(missing(
            "Authentication failed. The 'Authorization' header is missing: sign in, and send a \
             bearer token.",
        ));
    };
    let token = value
        .to_str()
        .ok()
        .filter(|_| values.next().is_none())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
        .map(|(_, token)| token.trim())
        .filter(|token| !token.is_empty() && token.len() <= LONGEST_TOKEN);
    token.ok_or_else(|| {
        missing("Authentication failed. The 'Authorization' header is not one bearer token.")
    })
}

/// A refusal that says where to sign in (RFC 6750, section 3).
fn challenge(denied: Denied, base: &str, tenant: &str) -> Refusal {
    let status = denied.status;
    let refusal = Refusal::from(denied);
    if status != 401 {
        return refusal;
    }
    let value = format!(
        "Bearer authorization_uri=\"{base}/{tenant}\", error=\"invalid_token\", \
         error_description=\"{}\"",
        refusal.error.message.replace(['"', '\\'], "'")
    );
    refusal.header(header::WWW_AUTHENTICATE, &value)
}
