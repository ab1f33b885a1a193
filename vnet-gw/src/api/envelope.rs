//! What every answer has: ids, an error in ARM's shape whatever went wrong, and a line in the log.

use std::time::{Duration, Instant};

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{ApiMetrics, Refusal, RequestIds};
use crate::engine::Who;

/// Who asked, as far as that came out; an extension of an answer.
#[derive(Clone, Debug)]
pub(super) struct Asker(pub(super) Who);

/// How long a request of somebody unknown may take.
const SLOW: Duration = Duration::from_secs(15);
/// Longer paths are cut in the log.
const SHOWN: usize = 300;

pub(super) async fn envelope(metrics: ApiMetrics, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let ids = RequestIds::of(request.headers());
    request.extensions_mut().insert(ids.clone());
    let method = request.method().clone();
    let path: String = request
        .uri()
        .path()
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_default)
        .collect();
    // A task of its own: what was begun is ended also where the client goes, and what panics takes
    // one answer with it.
    let answered = tokio::spawn(next.run(request)).await;
    let mut response = answered.unwrap_or_else(|error| {
        log::error!("api: {method} {path}: {error}");
        let message = "The request met a defect; the daemon's log says which. Nothing half-done is \
                       left: a change is carried out as a whole or not at all.";
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            message,
        )
        .into_response()
    });
    if is_bare_error(&response) {
        response = dressed(&response, method.as_str(), &path);
    }
    let status = response.status();
    metrics.answered(&method, status, begun.elapsed());
    tell(&method, &path, status, &response, &ids, begun);
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-ms-request-id", HeaderValue::from_str(&ids.request).ok());
    set(
        "x-ms-correlation-request-id",
        HeaderValue::from_str(&ids.correlation).ok(),
    );
    set("x-ms-client-request-id", ids.client);
    set(
        "x-content-type-options",
        Some(HeaderValue::from_static("nosniff")),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// For routes that read bodies of whoever comes, each in its own way.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    match timeout(SLOW, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            format!(
                "The request was not there after {} seconds.",
                SLOW.as_secs()
            ),
        )
        .into_response(),
    }
}

/// Of a router or an extractor that knows nothing of ARM.
fn is_bare_error(response: &Response) -> bool {
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"));
    let error = response.status().is_client_error() || response.status().is_server_error();
    // An answer to HEAD has no body in any case.
    error && !json
}

fn dressed(bare: &Response, method: &str, path: &str) -> Response {
    let status = bare.status();
    let refusal = match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = bare
                .headers()
                .get(header::ALLOW)
                .and_then(|value| value.to_str().ok());
            // Of the routes beside the resources, each is asked in one way.
            let other = match method {
                "GET" | "HEAD" => "POST",
                _ => "GET, HEAD",
            };
            Refusal::wrong_method(method, allowed.unwrap_or(other))
        }
        StatusCode::NOT_FOUND => Refusal::no_such_path(path),
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::new(
            status,
            "RequestEntityTooLarge",
            "The body of the request is too large.",
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Refusal::new(
            status,
            "UnsupportedMediaType",
            "The body of the request has a Content-Type that is not read here.",
        ),
        _ => Refusal::new(
            status,
            "InvalidRequest",
            status.canonical_reason().unwrap_or("The request failed."),
        ),
    };
    let mut response = refusal.into_response();
    *response.extensions_mut() = bare.extensions().clone();
    response
}

fn tell(
    method: &Method,
    path: &str,
    status: StatusCode,
    response: &Response,
    ids: &RequestIds,
    begun: Instant,
) {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let level = match () {
        () if status.is_server_error() => log::Level::Warn,
        () if reads => log::Level::Debug,
        () => log::Level::Info,
    };
    let who = match response.extensions().get::<Asker>() {
        Some(Asker(Who::User {
            name: Some(name), ..
        })) => format!("user {name}"),
        Some(Asker(Who::User { uid, .. })) => format!("user {uid}"),
        Some(Asker(Who::Principal { client_id, .. })) => format!("client {client_id}"),
        Some(Asker(Who::File)) | None => "nobody known".to_owned(),
    };
    log::log!(
        level,
        "api: {method} {path} {} for {who}, request {}, correlation {}, {:.1} ms",
        status.as_u16(),
        ids.request,
        ids.correlation,
        begun.elapsed().as_secs_f64() * 1e3
    );
}
