//! The audit log, in the shape of Azure Monitor's activity log.

use axum::{Json, response::IntoResponse};
use serde_json::json;

use super::{Answer, Api, Call, only};

impl Api {
    pub(super) async fn activity(&self, call: &Call, subscription: &str) -> Answer {
        only(call, &["GET"])?;
        self.must_know(&self.engine.state(), subscription)?;
        Ok(Json(json!({ "value": [] })).into_response())
    }
}
