//! Lists, page by page.

use axum::{Json, response::IntoResponse};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value, json};
use vnet_gw_core::{
    arm::{Collection, Document, GroupId, Live, NoLive, Scope, State, Target, view},
    model::{Kind, ResourceId},
};

use super::{
    Answer, Api, Call, Refusal,
    changes::operation,
    filter::Filter,
    only,
    resources::{missing, missing_group},
};
use crate::identity::Permission;

/// How many a page has where the client does not say.
const PAGE: usize = 250;
/// The most that a client may ask for.
const MOST: usize = 1000;

/// Which page of a list.
pub(super) struct Page {
    top: usize,
    /// The key of the last one of the page before.
    after: Option<String>,
}

impl Page {
    /// `$top` and `$skipToken`.
    ///
    /// # Errors
    ///
    /// `InvalidRequestUri`-like 400s.
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let wrong = |name: &str, what: &str| {
            Refusal::bad(
                "InvalidQueryParameterValue",
                format!("The query parameter {name} must be {what}."),
            )
        };
        let top = match call.query.get("$top").filter(|text| !text.is_empty()) {
            None => PAGE,
            Some(text) => match text.parse::<usize>() {
                Ok(number @ 1..) => number.min(MOST),
                _ => return Err(wrong("$top", &format!("a number from 1 to {MOST}"))),
            },
        };
        let after = match call.query.get("$skiptoken").filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
                let key = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                Some(key.ok_or_else(|| wrong("$skipToken", "one of a nextLink"))?)
            }
        };
        Ok(Self { top, after })
    }

    /// The page of a list: of items in the order of their keys, what is shown of them. An item may
    /// turn out to be no part of it.
    pub(super) fn take<'a, T: 'a>(
        &self,
        call: &Call,
        items: impl Iterator<Item = (String, T)>,
        mut show: impl FnMut(T) -> Option<Value>,
    ) -> Value {
        let mut value = Vec::new();
        let mut last = None;
        for (key, item) in items {
            if self.after.as_ref().is_some_and(|after| key <= *after) {
                continue;
            }
            if value.len() == self.top {
                return json!({ "value": value, "nextLink": self.next_link(call, last.as_deref()) });
            }
            if let Some(shown) = show(item) {
                value.push(shown);
                last = Some(key);
            }
        }
        json!({ "value": value })
    }

    /// The page of the resources of a kind (or of every kind) at a scope that the caller may look
    /// at, as far as something is shown of them.
    fn walk(
        &self,
        call: &Call,
        state: &State,
        kind: Option<Kind>,
        scope: &Scope,
        mut show: impl FnMut(&Target) -> Option<Value>,
    ) -> Value {
        let mut value = Vec::new();
        let mut after = self.after.as_deref().map(ResourceId::new);
        loop {
            let most = self.top - value.len();
            let (targets, next) = view::list(state, kind, scope, after.as_ref(), most);
            value.extend(
                targets
                    .iter()
                    .filter(|target| call.access.allows(Permission::Read, target.id.as_str()))
                    .filter_map(&mut show),
            );
            match next {
                None => return json!({ "value": value }),
                Some(last) if value.len() >= self.top => {
                    let next = self.next_link(call, Some(last.key()));
                    return json!({ "value": value, "nextLink": next });
                }
                Some(last) => after = Some(last),
            }
        }
    }

    /// The same question, from the next one on.
    fn next_link(&self, call: &Call, last: Option<&str>) -> String {
        let token = BASE64_URL_SAFE_NO_PAD.encode(last.unwrap_or_default());
        let mut query = Vec::new();
        for (name, value) in call.query.pairs() {
            if name != "$skiptoken" {
                let value = utf8_percent_encode(value, ENCODED);
                query.push(format!("{name}={value}"));
            }
        }
        query.push(format!("%24skipToken={token}"));
        let path = call.path.to_string();
        let path = utf8_percent_encode(&path, ENCODED_PATH);
        format!("{}{path}?{}", call.base, query.join("&"))
    }
}

/// What must not stand in a path as it is.
const ENCODED_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// And in a value of a query.
const ENCODED: &AsciiSet = &ENCODED_PATH
    .add(b'&')
    .add(b'+')
    .add(b'=')
    .add(b'$')
    .add(b'\'');

impl Api {
    /// All of a type: in a subscription, in a group, or the children of a resource.
    pub(super) async fn list(&self, call: &Call) -> Answer {
        only(call, &["GET"])?;
        let Collection { kind, scope } = Collection::parse(&call.path.to_string())?;
        let page = Page::of(call)?;
        let tunnels = match kind {
            Kind::Connection => Some(self.tunnels().await),
            _ => None,
        };
        let live: &dyn Live = match &tunnels {
            Some(tunnels) => tunnels,
            None => &NoLive,
        };
        let state = self.engine.state();
        if kind == Kind::NetworkWatcher {
            return self.watchers(call, &state, &scope, &page);
        }
        match &scope {
            Scope::Subscription(subscription) => self.must_know(&state, subscription)?,
            Scope::Group(group) => group_exists(call, &state, group)?,
            Scope::Parent(parent) => {
                call.allow(
                    Permission::Read,
                    &operation(kind, "read"),
                    parent.id.as_str(),
                )?;
                if state.document(&parent.id).is_none() {
                    return Err(missing(&state, parent));
                }
            }
        }
        let body = page.walk(call, &state, Some(kind), &scope, |target| {
            view::show(&state, target, live)
        });
        Ok(Json(body).into_response())
    }

    /// `resources` of a subscription or a group: of every type, in short.
    pub(super) fn all_resources(
        &self,
        call: &Call,
        subscription: &str,
        group: Option<&GroupId>,
    ) -> Answer {
        only(call, &["GET"])?;
        let page = Page::of(call)?;
        let filter = Filter::parse(call.query.get("$filter").unwrap_or_default())?;
        let state = self.engine.state();
        let scope = match group {
            Some(group) => {
                group_exists(call, &state, group)?;
                Scope::Group(group.clone())
            }
            None => {
                self.must_know(&state, subscription)?;
                Scope::Subscription(subscription.to_owned())
            }
        };
        let body = page.walk(call, &state, None, &scope, |target| {
            let document = state.document(&target.id)?;
            filter.takes(document).then(|| short(&state, document))
        });
        Ok(Json(body).into_response())
    }
}

/// The caller may look into the group, and it must be there: whoever may not is not told what is
/// not there.
pub(super) fn group_exists(call: &Call, state: &State, group: &GroupId) -> Result<(), Refusal> {
    call.allow(
        Permission::Read,
        "Microsoft.Resources/subscriptions/resourceGroups/read",
        &group.to_string(),
    )?;
    match state.groups.contains_key(group) {
        true => Ok(()),
        false => Err(missing_group(&group.name)),
    }
}

/// The target of a document.
pub(super) fn target_of(document: &Document) -> Target {
    Target {
        kind: document.kind,
        id: document.id.clone(),
        document: document.id.clone(),
    }
}

/// A list in the properties of a resource, as it is shown.
///
/// # Errors
///
/// Where there is no such resource.
pub(super) fn children(state: &State, parent: &Target, name: &str) -> Result<Vec<Value>, Refusal> {
    let shown = view::show(state, parent, &NoLive);
    let mut shown = shown.ok_or_else(|| missing(state, parent))?;
    let list = shown
        .pointer_mut(&format!("/properties/{name}"))
        .map(Value::take);
    Ok(match list {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    })
}

/// With keys that grow.
pub(super) fn numbered<T>(list: Vec<T>) -> impl Iterator<Item = (String, T)> {
    let list = list.into_iter().enumerate();
    list.map(|(number, item)| (format!("{number:08}"), item))
}

/// As `resources` lists it.
fn short(state: &State, document: &Document) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), document.id.as_str().into());
    object.insert("name".to_owned(), document.id.name().into());
    object.insert("type".to_owned(), document.kind.resource_type().into());
    for name in ["location", "tags", "sku", "zones"] {
        if let Some(value) = document.body.get(name) {
            object.insert(name.to_owned(), value.clone());
        }
    }
    object.insert(
        "provisioningState".to_owned(),
        state.provisioning(&document.id).as_str().into(),
    );
    Value::Object(object)
}
