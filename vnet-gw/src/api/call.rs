//! A request that was let in: who asks for what, and what they may.

use std::net::SocketAddr;

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderValue, Method, header},
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use uuid::Uuid;
use vnet_gw_core::arm::Precondition;

use super::{Path, Refusal, body};
use crate::{
    engine::{Caller, Who},
    identity::{Access, Permission},
};

/// Where a connection comes from; an extension of every request.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Over TLS: a token says who it is.
    Network(SocketAddr),
    /// On the Unix socket: the kernel says who it is.
    Local(Who, Access),
}

/// What a request is told apart by, in answers and in the log; an extension of every request.
#[derive(Clone, Debug)]
pub struct RequestIds {
    /// `x-ms-request-id`: made here.
    pub request: String,
    /// `x-ms-correlation-request-id`: the client's, where it is a UUID.
    pub correlation: String,
    /// `x-ms-client-request-id`, where the client wants it back.
    pub client: Option<HeaderValue>,
}

impl RequestIds {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let correlation = text("x-ms-correlation-request-id")
            .and_then(|text| Uuid::try_parse(text).ok())
            .unwrap_or_else(Uuid::new_v4);
        let wanted = text("x-ms-return-client-request-id")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"));
        Self {
            request: Uuid::new_v4().to_string(),
            correlation: correlation.to_string(),
            client: headers
                .get("x-ms-client-request-id")
                .filter(|value| wanted && value.len() <= 128)
                .cloned(),
        }
    }
}

/// A request of somebody known, with its body.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub path: Path,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub caller: Caller,
    pub access: Access,
    /// What absolute URLs begin with: `https://127.0.0.1:8443`.
    pub base: String,
}

impl Call {
    /// Whether the caller may do it there.
    ///
    /// # Errors
    ///
    /// `AuthorizationFailed` (403)
    pub fn allow(
        &self,
        permission: Permission,
        operation: &str,
        scope: &str,
    ) -> Result<(), Refusal> {
        if self.access.allows(permission, scope) {
            return Ok(());
        }
        Err(self.forbidden("AuthorizationFailed", operation, scope))
    }

    pub(super) fn forbidden(&self, code: &str, operation: &str, scope: &str) -> Refusal {
        let who = match &self.caller.who {
            Who::File => "The configuration file".to_owned(),
            Who::User {
                name: Some(name), ..
            } => format!("The local user '{name}'"),
            Who::User { uid, .. } => format!("The local user {uid}"),
            Who::Principal { client_id, name } => {
                format!("The client '{client_id}' ({name})")
            }
        };
        Refusal::new(
            axum::http::StatusCode::FORBIDDEN,
            code,
            format!(
                "{who} does not have authorization to perform action '{operation}' over scope \
                 '{scope}'."
            ),
        )
    }

    /// The body as a JSON object.
    ///
    /// # Errors
    ///
    /// `UnsupportedMediaType` (415), `InvalidRequestContent`
    pub fn object(&self) -> Result<Map<String, Value>, Refusal> {
        body::must_be_json(&self.headers)?;
        body::object(&self.body)
    }

    /// The same, where there may be none.
    pub fn object_or_nothing(&self) -> Result<Map<String, Value>, Refusal> {
        match self.body.iter().all(u8::is_ascii_whitespace) {
            true => Ok(Map::new()),
            false => self.object(),
        }
    }

    /// `If-Match` and `If-None-Match`.
    ///
    /// # Errors
    ///
    /// `InvalidIfMatchHeader`-like 400s for what is not one ETag.
    pub fn precondition(&self) -> Result<Precondition, Refusal> {
        let if_match = self
            .headers
            .get(header::IF_MATCH)
            .map(|value| {
                let text = value.to_str().unwrap_or_default().trim();
                let tag = text.strip_prefix("W/").unwrap_or(text);
                let bare = tag
                    .strip_prefix('"')
                    .and_then(|tag| tag.strip_suffix('"'))
                    .unwrap_or(tag);
                match bare.is_empty() || bare.contains(['"', ',']) {
                    true => Err(Refusal::bad(
                        "InvalidHeaderValue",
                        "If-Match must be one ETag, or *.",
                    )),
                    false => Ok(bare.to_owned()),
                }
            })
            .transpose()?;
        let if_none_match = match self.headers.get(header::IF_NONE_MATCH) {
            None => false,
            Some(value) if value.as_bytes().trim_ascii() == b"*" => true,
            Some(_) => {
                return Err(Refusal::bad(
                    "InvalidHeaderValue",
                    "If-None-Match must be *: it lets a PUT make a resource, and never change one.",
                ));
            }
        };
        Ok(Precondition {
            if_match,
            if_none_match,
        })
    }
}

/// The query of a URL. Names compare without case; of a name that stands twice the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// # Errors
    ///
    /// `InvalidRequestUri`
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced)
                .decode_utf8()
                .map(|text| text.into_owned())
                .map_err(|_| {
                    Refusal::bad(
                        "InvalidRequestUri",
                        "The query of the request is not UTF-8.",
                    )
                })
        };
        let mut pairs = Vec::new();
        for part in raw.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            pairs.push((decode(name)?.to_ascii_lowercase(), decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// `name` in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All of it, names in lower case.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn flag(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(headers: &[(header::HeaderName, &str)]) -> Call {
        Call {
            method: Method::GET,
            path: Path::parse("/").unwrap(),
            query: Query::default(),
            headers: headers
                .iter()
                .map(|(name, value)| (name.clone(), value.parse().unwrap()))
                .collect(),
            body: Bytes::new(),
            caller: Caller {
                who: Who::File,
                address: None,
                correlation_id: String::new(),
            },
            access: Access::looking(),
            base: String::new(),
        }
    }

    #[test]
    fn queries_are_read() {
        let query =
            Query::parse("api-version=2024-05-01&%24top=3&$filter=name+eq%20'a'&x&=&a=1&A=2")
                .unwrap();
        assert_eq!(query.get("api-version"), Some("2024-05-01"));
        assert_eq!(query.get("$top"), Some("3"));
        assert_eq!(query.get("$filter"), Some("name eq 'a'"));
        assert_eq!((query.get("x"), query.get("y")), (Some(""), None));
        assert_eq!(query.get("a"), Some("1"));
        assert!(Query::parse("a=%ff").is_err());
    }

    #[test]
    fn preconditions_are_read() {
        for (tag, read) in [
            ("W/\"abc\"", Some("abc")),
            ("\"abc\"", Some("abc")),
            ("*", Some("*")),
            ("abc", Some("abc")),
            ("", None),
            ("\"a\", \"b\"", None),
        ] {
            let precondition = call(&[(header::IF_MATCH, tag)]).precondition();
            assert_eq!(
                precondition.ok().and_then(|one| one.if_match).as_deref(),
                read
            );
        }
        let new = call(&[(header::IF_NONE_MATCH, "*")])
            .precondition()
            .unwrap();
        assert!(new.if_none_match && new.if_match.is_none());
        assert!(
            call(&[(header::IF_NONE_MATCH, "\"a\"")])
                .precondition()
                .is_err()
        );
    }

    #[test]
    fn who_may_not_is_told_what_and_where() {
        let call = call(&[]);
        assert!(call.allow(Permission::Read, "x/read", "/a").is_ok());
        let refusal = call.allow(Permission::Write, "x/write", "/a").unwrap_err();
        assert_eq!(refusal.status.as_u16(), 403);
        assert!(refusal.error.message.contains("'x/write' over scope '/a'"));
    }

    #[test]
    fn ids_of_clients_are_kept_where_they_are_ids() {
        let id = "11111111-2222-4333-8444-555555555555";
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| {
                    (
                        header::HeaderName::from_static(name),
                        value.parse().unwrap(),
                    )
                })
                .collect()
        };
        let ids = RequestIds::of(&headers(&[
            ("x-ms-correlation-request-id", id),
            ("x-ms-client-request-id", "mine"),
            ("x-ms-return-client-request-id", "true"),
        ]));
        assert_eq!(ids.correlation, id);
        assert_eq!(ids.client.unwrap(), "mine");
        let ids = RequestIds::of(&headers(&[
            ("x-ms-correlation-request-id", "x y"),
            ("x-ms-client-request-id", "mine"),
        ]));
        assert!(Uuid::try_parse(&ids.correlation).is_ok() && ids.client.is_none());
    }
}
