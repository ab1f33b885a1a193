//! The endpoints of a sign-in: cloud metadata, OpenID Connect discovery, keys, and tokens for
//! client credentials (RFC 6749, 4.4).

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, DefaultBodyLimit, Form, Path, State, rejection::FormRejection},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CACHE_CONTROL, HOST, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::spawn_blocking};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Denied, Identity, metadata};
use crate::control::KeyText;

/// A form of a sign-in is smaller.
const MAX_FORM: usize = 16 * 1024;
/// Hashes worked out at once: each takes 19 MiB and tens of milliseconds of a core.
const HASHING: usize = 2;

/// Audiences of Azure's own Resource Manager, which clients ask for unless they are told ours.
const AZURE: [&str; 2] = [
    "https://management.azure.com",
    "https://management.core.windows.net",
];

#[derive(Clone)]
struct Shared {
    identity: Arc<Identity>,
    hashing: Arc<Semaphore>,
}

/// The routes that need no token. Whoever serves them puts the client's address into the request
/// as [`ConnectInfo`].
pub fn router(identity: Arc<Identity>) -> Router {
    let shared = Shared {
        identity,
        hashing: Arc::new(Semaphore::new(HASHING)),
    };
    Router::new()
        .route("/metadata/endpoints", get(endpoints))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery),
        )
        .route("/{tenant}/.well-known/openid-configuration", get(discovery))
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
        .route("/{tenant}/discovery/keys", get(keys))
        .route("/{tenant}/oauth2/v2.0/token", post(token))
        .route("/{tenant}/oauth2/token", post(token))
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .with_state(shared)
}

/// `https://HOST:PORT` as the client knows us.
fn base(headers: &HeaderMap) -> String {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .filter(|host| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
            !host.is_empty() && host.len() <= 255 && host.chars().all(allowed)
        });
    format!("https://{}", host.unwrap_or("localhost"))
}

async fn endpoints(State(shared): State<Shared>, headers: HeaderMap) -> Json<Value> {
    Json(metadata::endpoints(
        &base(&headers),
        shared.identity.tenant(),
    ))
}

async fn discovery(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    headers: HeaderMap,
) -> Response {
    match known(&shared, &tenant) {
        true => Json(metadata::openid_configuration(&base(&headers), &tenant)).into_response(),
        false => unknown_tenant(),
    }
}

async fn keys(State(shared): State<Shared>, Path(tenant): Path<String>) -> Response {
    match known(&shared, &tenant) {
        true => Json(shared.identity.key_set()).into_response(),
        false => unknown_tenant(),
    }
}

/// Ours, or one of the names that stand for the tenant of whoever signs in.
fn known(shared: &Shared, tenant: &str) -> bool {
    [shared.identity.tenant(), "common", "organizations"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(tenant))
}

fn unknown_tenant() -> Response {
    failed(
        StatusCode::BAD_REQUEST,
        "invalid_tenant",
        90002,
        "There is no such tenant here: `vnet-gw principal list` shows its id.",
    )
}

#[derive(Deserialize)]
struct TokenRequest {
    #[serde(default)]
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<KeyText>,
    client_assertion: Option<KeyText>,
    scope: Option<String>,
    /// Of the first version of the endpoint.
    resource: Option<String>,
}

async fn token(
    State(shared): State<Shared>,
    Path(tenant): Path<String>,
    from: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    form: Result<Form<TokenRequest>, FormRejection>,
) -> Response {
    if !known(&shared, &tenant) {
        return unknown_tenant();
    }
    let Ok(Form(form)) = form else {
        // Its own words may have the form's in them.
        let why = "The body is no form: send application/x-www-form-urlencoded.";
        return failed(StatusCode::BAD_REQUEST, "invalid_request", 900144, why);
    };
    if !form.grant_type.eq_ignore_ascii_case("client_credentials") {
        let why = "Only service principals sign in here: use the grant client_credentials.";
        return failed(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            70003,
            why,
        );
    }
    if form.client_assertion.is_some() {
        let why = "Certificates and federated credentials are not supported: use a client secret.";
        return failed(StatusCode::BAD_REQUEST, "invalid_request", 700027, why);
    }
    if !audience(&form, &base(&headers)) {
        let why = "The scope is of another resource: ask for that of /metadata/endpoints, with /.default behind it.";
        return failed(StatusCode::BAD_REQUEST, "invalid_scope", 70011, why);
    }
    let secret = form.client_secret.as_ref();
    let posted = form
        .client_id
        .zip(secret.map(|secret| Zeroizing::new(secret.expose().to_owned())));
    let Some((client_id, secret)) = posted.or_else(|| basic(&headers)) else {
        let why = "The client id or secret is missing: send client_id and client_secret.";
        return failed(StatusCode::BAD_REQUEST, "invalid_request", 900144, why);
    };
    let from = from.map(|Extension(ConnectInfo(from))| from);
    let Ok(place) = Arc::clone(&shared.hashing).acquire_owned().await else {
        return failed(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            90033,
            "The daemon ends.",
        );
    };
    let identity = Arc::clone(&shared.identity);
    let outcome = spawn_blocking(move || {
        let _place = place;
        identity.sign_in(&client_id, &secret, from)
    });
    match outcome.await {
        Ok(Ok((token, seconds))) => granted(&token, seconds),
        Ok(Err(denied)) => refused(&denied),
        Err(_) => failed(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            90033,
            "The sign-in failed: see what the daemon logged.",
        ),
    }
}

/// Whether a token for us is asked for. Who names nothing means us.
fn audience(form: &TokenRequest, base: &str) -> bool {
    let good = |resource: &str| {
        let resource = resource.trim_end_matches('/');
        AZURE
            .iter()
            .copied()
            .chain([base, super::token::AUDIENCE.trim_end_matches('/')])
            .any(|known| known.eq_ignore_ascii_case(resource))
    };
    let scopes = form.scope.as_deref().unwrap_or_default();
    let beside = ["openid", "profile", "offline_access"];
    form.resource.as_deref().is_none_or(good)
        && scopes
            .split_whitespace()
            .filter(|scope| !beside.contains(scope))
            .all(|scope| good(scope.strip_suffix("/.default").unwrap_or(scope)))
}

/// `client_secret_basic`: both are form-encoded in there (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<String>)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Zeroizing::new(String::from_utf8(BASE64.decode(value.trim()).ok()?).ok()?);
    let (id, secret) = pair.split_once(':')?;
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(String::from)
    };
    Some((decoded(id)?, Zeroizing::new(decoded(secret)?)))
}

fn granted(token: &str, seconds: u64) -> Response {
    let body = json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": token,
    });
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn refused(denied: &Denied) -> Response {
    let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::UNAUTHORIZED);
    let (error, number) = match denied.status {
        401 => ("invalid_client", 7_000_215),
        429 => ("temporarily_unavailable", 50196),
        _ => ("server_error", 90033),
    };
    let mut response = failed(status, error, number, &denied.message);
    if let Some(seconds) = denied.retry_after_seconds {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An error of the token endpoint (RFC 6749, 5.2), with what Azure's have besides.
fn failed(status: StatusCode, error: &str, number: u32, why: &str) -> Response {
    let body = json!({
        "error": error,
        "error_description": format!("AADSTS{number}: {why}"),
        "error_codes": [number],
        "timestamp": humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        "trace_id": Uuid::new_v4().to_string(),
        "correlation_id": Uuid::new_v4().to_string(),
    });
    (status, Json(body)).into_response()
}
