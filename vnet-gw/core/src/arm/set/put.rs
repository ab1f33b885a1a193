//! PUT: of a resource, and of a child.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use serde_json::Value;

use super::{ChangeSet, child, is_named};
use crate::{
    arm::{
        Document, Origin, Outcome, Put, Target, carry,
        clean::clean,
        json::{self, Object},
    },
    model::{ArmError, Kind, ResourceId},
    secret::Secret,
};

impl ChangeSet<'_> {
    pub(super) fn put(&mut self, put: &Put) -> Result<Outcome, ArmError> {
        let at_target = |error: ArmError| match error.target {
            None => error.at(put.target.id.as_str()),
            Some(_) => error,
        };
        let mut body = put.body.clone();
        check_name(&put.target, &body).map_err(at_target)?;
        let key = clean(put.target.kind, &mut body).map_err(at_target)?;
        self.needed_group(&put.target)?;
        if put.target.is_child() {
            self.put_child(put, body)
        } else {
            self.put_document(put, body, key)
        }
    }

    fn put_document(
        &mut self,
        put: &Put,
        mut body: Object,
        key: Option<Secret>,
    ) -> Result<Outcome, ArmError> {
        let target = &put.target;
        let old = self.document(&target.document).cloned();
        let etag = old.as_ref().map(|document| document.etag.as_str());
        put.precondition.check(target, etag)?;
        if let Some(old) = &old
            && put.origin == Origin::Api
        {
            self.same_location(old, &body)?;
        }
        let anew = put.origin == Origin::File;
        let before = old.as_ref().map(|document| &document.body);
        carry::carry(target.kind, &target.document, before, &mut body, anew)?;
        if old.is_none()
            && let Some(properties) = json::object_mut(&mut body, "properties")
        {
            json::set(properties, "resourceGuid", self.assign.guid());
        }
        if target.kind == Kind::PublicIpAddress {
            self.public_address(&target.document, &mut body)?;
        }
        let new_key = key.filter(|key| self.key(&target.document) != Some(key));
        let rekeyed = new_key.is_some();
        if let Some(key) = new_key {
            self.keys.insert(target.document.clone(), Some(key));
        }
        let Some(old) = old else {
            let document = Document {
                id: target.document.clone(),
                kind: target.kind,
                body,
                etag: self.assign.guid(),
                origin: put.origin,
            };
            let document = Some(Arc::new(document));
            self.documents.insert(target.document.clone(), document);
            return Ok(Outcome::Created);
        };
        // What the file has stays the file's, whoever else changes it.
        let origin = match put.origin {
            Origin::File => Origin::File,
            Origin::Api => old.origin,
        };
        let same = body == old.body && !rekeyed;
        if same && origin == old.origin {
            return Ok(Outcome::Unchanged);
        }
        let document = Document {
            id: old.id.clone(),
            kind: old.kind,
            body,
            etag: match same {
                true => old.etag.clone(),
                false => self.assign.guid(),
            },
            origin,
        };
        let id = old.id.clone();
        self.documents.insert(id, Some(Arc::new(document)));
        Ok(match same {
            true => Outcome::Unchanged,
            false => Outcome::Updated,
        })
    }

    fn put_child(&mut self, put: &Put, body: Object) -> Result<Outcome, ArmError> {
        let target = &put.target;
        let Some(parent) = self.document(&target.document) else {
            return Err(ArmError::new(
                "ParentResourceNotFound",
                format!(
                    "Can not perform requested operation on nested resource. Parent resource '{}' \
                     not found.",
                    target.document.name()
                ),
            )
            .at(target.id.as_str()));
        };
        let old = child(&parent.body, target);
        put.precondition
            .check(target, old.map(|_| parent.etag.as_str()))?;
        let mut item = Object::new();
        json::set(&mut item, "name", target.id.name());
        item.extend(body);
        if let Some(old) = old {
            let anew = put.origin == Origin::File;
            carry::carry_child(target.kind, &target.document, old, &mut item, anew)?;
        }
        if target.kind == Kind::VirtualNetworkPeering {
            carry::renew(&mut item, put.sync_remote_address_space);
        }
        let outcome = match old {
            None => Outcome::Created,
            Some(old) if *old == item => return Ok(Outcome::Unchanged),
            Some(_) => Outcome::Updated,
        };
        let etag = self.assign.guid();
        let (name, list) = (target.id.name(), target.kind.list_name());
        let place = self.document_mut(&target.document).and_then(|document| {
            document.etag = etag;
            let properties = json::make_object(&mut document.body, "properties")?;
            json::make_list(properties, list)
        });
        if let Some(list) = place {
            match list.iter_mut().find(|item| is_named(item, name)) {
                Some(place) => *place = Value::Object(item),
                None => list.push(Value::Object(item)),
            }
        }
        Ok(outcome)
    }

    /// A resource does not move.
    fn same_location(&self, old: &Document, body: &Object) -> Result<(), ArmError> {
        let target = Target::known(old.kind, &old.id);
        let default = &self.needed_group(&target)?.location;
        let here = json::text(&old.body, "location").unwrap_or(default);
        let Some(there) = json::text(body, "location").filter(|there| *there != here) else {
            return Ok(());
        };
        Err(ArmError::new(
            "InvalidResourceLocation",
            format!(
                "The resource '{}' already exists in location '{here}' in resource group '{}'. A \
                 resource with the same name cannot be created in location '{there}'. Please \
                 select a new resource name.",
                old.id.name(),
                target.group().name,
            ),
        )
        .at(old.id.as_str()))
    }

    /// Gives a publicIPAddress that names none the first free address of the pool.
    fn public_address(&mut self, id: &ResourceId, body: &mut Object) -> Result<(), ArmError> {
        let Some(properties) = json::object_mut(body, "properties") else {
            return Ok(());
        };
        match json::get(properties, "ipAddress") {
            None => {}
            Some(Value::String(text)) if text.is_empty() => {}
            // One of its own, which the next one does not get.
            Some(named) => {
                let address = named.as_str().and_then(|text| text.trim().parse().ok());
                if let (Some(taken), Some(address)) = (&mut self.taken, address) {
                    taken.insert(address);
                }
                return Ok(());
            }
        }
        let ipv6 = json::text(properties, "publicIPAddressVersion")
            .is_some_and(|version| version.eq_ignore_ascii_case("IPv6"));
        if self.taken.is_none() {
            self.taken = Some(self.taken_addresses());
        }
        let assign = &*self.assign;
        let pool = self.pool.get_or_insert_with(|| assign.public_addresses());
        let taken = self.taken.get_or_insert_default();
        let free = pool
            .iter()
            .find(|address| address.is_ipv6() == ipv6 && !taken.contains(address));
        let Some(free) = free else {
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            return Err(ArmError::new(
                "PublicIPAddressPoolExhausted",
                format!(
                    "The public IP address names no ipAddress, and no free {family} address is \
                     left to assign: name one of this host's, or give the daemon a pool \
                     (vnet-gw run --public-ip-pool PREFIX)."
                ),
            )
            .at(id.as_str()));
        };
        taken.insert(*free);
        json::set(properties, "ipAddress", free.to_string());
        Ok(())
    }

    /// The public addresses of the set so far.
    fn taken_addresses(&self) -> HashSet<IpAddr> {
        let base = self.base.topology.public_ip_addresses.iter();
        let unchanged = base
            .filter(|(id, _)| !self.documents.contains_key(*id))
            .map(|(_, public)| public.ip_address);
        let changed = self.documents.values().flatten().filter_map(|document| {
            let of_kind = document.kind == Kind::PublicIpAddress;
            let properties = json::object(&document.body, "properties").filter(|_| of_kind)?;
            json::text(properties, "ipAddress")?.trim().parse().ok()
        });
        unchanged.chain(changed).collect()
    }
}

/// A body that says a name says the one of its path.
fn check_name(target: &Target, body: &Object) -> Result<(), ArmError> {
    // As templates and exports have it, with the names of the parents before it.
    let name = json::text(body, "name").map(|name| name.rsplit('/').next().unwrap_or(name));
    match name {
        Some(name) if !name.eq_ignore_ascii_case(target.id.name()) && !name.is_empty() => {
            Err(ArmError::new(
                "InvalidRequestContent",
                format!(
                    "The name of the resource in the body, '{}', is not that in its id: correct \
                     one.",
                    crate::model::cut(name)
                ),
            ))
        }
        _ => Ok(()),
    }
}
