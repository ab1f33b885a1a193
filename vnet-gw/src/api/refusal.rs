//! How a request is refused: a status, and ARM's envelope.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use vnet_gw_core::{arm::status_of, model::ArmError};

use crate::{engine::EngineError, identity::Denied};

/// Why a request is not done. Nothing was changed.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: Box<ArmError>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// It stands in the audit log.
    pub noted: bool,
}

/// What a handler gives back.
pub type Answer = Result<Response, Refusal>;

impl Refusal {
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            error: Box::new(ArmError::new(code, message)),
            headers: Vec::new(),
            noted: false,
        }
    }

    /// 400
    pub fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 404
    pub fn missing(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// With an error that has its own code: the status follows from that.
    pub fn from_error(error: ArmError) -> Self {
        Self {
            status: StatusCode::from_u16(status_of(&error)).unwrap_or(StatusCode::BAD_REQUEST),
            error: Box::new(error),
            headers: Vec::new(),
            noted: false,
        }
    }

    /// Where a path names nothing that is served.
    pub fn no_such_path(path: &str) -> Self {
        Self::missing(
            "NotFound",
            format!(
                "Nothing is served at '{path}': paths are those of Azure Resource Manager, below \
                 /subscriptions/…, for Microsoft.Network and Microsoft.Resources."
            ),
        )
    }

    /// 405, with what may be asked instead.
    pub fn wrong_method(method: &str, allowed: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            format!("{method} is not served here; {allowed} is."),
        )
        .header(header::ALLOW, allowed)
    }
}

impl From<ArmError> for Refusal {
    fn from(error: ArmError) -> Self {
        Self::from_error(error)
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let refusal = match error {
            EngineError::Invalid(error) => Self::from_error(error),
            EngineError::Store(error) => {
                log::error!("{error}");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "ServiceUnavailable",
                    "The change could not be made durable, and nothing was changed; the daemon's \
                     log says why. Try again.",
                )
                .header(header::RETRY_AFTER, "5")
            }
            EngineError::Busy(_) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequests",
                format!("Too much is asked at once: {error}."),
            )
            .header(header::RETRY_AFTER, "1"),
            EngineError::Ending => Self::ending(),
        };
        Self {
            noted: true,
            ..refusal
        }
    }
}

impl Refusal {
    /// The daemon goes.
    pub fn ending() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The daemon ends; ask again when it is back.",
        )
        .header(header::RETRY_AFTER, "5")
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        let status = StatusCode::from_u16(denied.status).unwrap_or(StatusCode::UNAUTHORIZED);
        let refusal = Self::new(status, &denied.code, denied.message);
        match denied.retry_after_seconds {
            Some(seconds) => refusal.header(header::RETRY_AFTER, &seconds.to_string()),
            None => refusal,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.error.body())).into_response();
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
