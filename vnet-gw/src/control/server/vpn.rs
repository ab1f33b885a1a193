//! Questions about VPN gateways and connections.

use std::fmt::Display;

use tokio::sync::oneshot;
use vnet_gw_core::{
    arm::{Change, Outcome, SharedKeyChange},
    model::ResourceId,
    secret::Secret,
};

use super::{Asked, Connection, ErrorCode, ErrorReply, Request, Response};
use crate::{
    control::{
        IkeSaList, KeyText, SharedKeyReply, VpnCounts, find_connection, short, vpn_view as view,
    },
    daemon::keys,
    engine::{Caller, Submission},
    identity,
    vpn::{Question, VpnStatus},
};

impl Connection {
    pub(super) async fn vpn_counts(&self) -> Result<VpnCounts, ErrorReply> {
        Ok(view::counts(&self.vpn_status().await?))
    }

    /// Those of [`Request`] that are about the VPN.
    pub(super) async fn vpn(&self, request: Request) -> Result<Response, ErrorReply> {
        match request {
            Request::Gateways {} => {
                let status = self.vpn_status().await?;
                self.work_out(move |snapshot| {
                    Ok(Response::Gateways(view::gateways(&snapshot, &status)))
                })
                .await
            }
            Request::Connections {} => {
                let status = self.vpn_status().await?;
                self.work_out(move |snapshot| {
                    Ok(Response::Connections(view::connections(&snapshot, &status)))
                })
                .await
            }
            Request::Connection { connection } => {
                let id = self.connection(&connection)?;
                let status = self.vpn_status().await?;
                self.work_out(move |snapshot| view::connection(&snapshot, &status, &id))
                    .await
                    .map(|row| Response::Connection(Box::new(row)))
            }
            Request::IkeSas { connection } => {
                let id = self.connection(&connection)?;
                self.must_be_here(&id)?;
                let question = |answer| Question::IkeSas {
                    connection: id,
                    answer,
                };
                let sas = self.ask_vpn(question).await?;
                let value = sas.iter().map(view::ike_sa).collect();
                Ok(Response::IkeSas(IkeSaList { value }))
            }
            Request::ResetConnection { connection } => {
                let id = self.connection(&connection)?;
                self.must_be_here(&id)?;
                let question = |answer| Question::Reset {
                    connection: id,
                    answer,
                };
                self.ask_vpn(question).await.map(|_| Response::Done)
            }
            Request::SharedKey { connection } => {
                let id = self.connection(&connection)?;
                self.shared_key(&id)
            }
            Request::SetSharedKey { connection, value } => {
                let key = keys::parse(value.expose())
                    .map_err(|error| ErrorReply::new(ErrorCode::BadRequest, error))?;
                self.set_key(&connection, key).await
            }
            Request::ResetSharedKey { connection, length } => {
                if !(1..=keys::KEY_LONGEST).contains(&length) {
                    let message = format!("length: 1 to {}", keys::KEY_LONGEST);
                    return Err(ErrorReply::new(ErrorCode::BadRequest, message));
                }
                self.set_key(&connection, keys::generate(length)).await
            }
            // Answered elsewhere.
            _ => Err(ErrorReply::new(ErrorCode::BadRequest, "no such question")),
        }
    }

    fn shared_key(&self, connection: &ResourceId) -> Result<Response, ErrorReply> {
        let state = self.engine.state();
        let key = state.keys.get(connection).ok_or_else(|| {
            let message = format!("connection {}: it has no key", short(connection.as_str()));
            ErrorReply::new(ErrorCode::Conflict, message)
        })?;
        Ok(Response::SharedKey(SharedKeyReply {
            id: connection.to_string(),
            value: KeyText::new(keys::text(key).to_string()),
        }))
    }

    /// Gives a connection a key, and the connection back, too: those of a pair are equal (A17).
    async fn set_key(&self, name: &str, key: Secret) -> Result<Response, ErrorReply> {
        let connection = self.connection(name)?;
        let state = self.engine.state();
        let known = state.topology.connections.get(&connection);
        let back = known.and_then(|known| state.topology.connection_back(known));
        let both: Vec<ResourceId> = std::iter::once(connection.clone())
            .chain(back.map(|back| back.id.clone()))
            .collect();
        let changes = both.iter().map(|connection| Change::SharedKey {
            connection: connection.clone(),
            change: SharedKeyChange::Set(key.clone()),
        });
        let uid = self.user.unwrap_or(u32::MAX);
        let receipt = self.engine.submit(Submission {
            changes: changes.collect(),
            caller: Caller {
                who: identity::local_user(uid).0,
                address: None,
                correlation_id: uuid::Uuid::new_v4().to_string(),
            },
            operation: "Microsoft.Network/connections/sharedKey/write".to_owned(),
            resource: connection.to_string(),
            records: Vec::new(),
            noted: crate::engine::Noted::default(),
        });
        let conflict = |error: &dyn Display| ErrorReply::new(ErrorCode::Conflict, error);
        let receipt = receipt.await.map_err(|error| conflict(&error))?;
        let carried = receipt.carried.await;
        carried
            .map_err(|_| conflict(&"the daemon ends"))?
            .map_err(|error| conflict(&error))?;
        if receipt
            .outcomes
            .iter()
            .all(|one| *one == Outcome::Unchanged)
        {
            // Asked for all the same: the tunnels are made anew.
            for connection in both {
                let question = |answer| Question::Reset { connection, answer };
                self.ask_vpn(question).await?;
            }
        }
        self.shared_key(&connection)
    }

    fn connection(&self, name: &str) -> Result<ResourceId, ErrorReply> {
        let snapshot = self.snapshot.borrow();
        find_connection(&snapshot.topology, name)
            .cloned()
            .map_err(|error| ErrorReply::new(ErrorCode::Name, error))
    }

    fn must_be_here(&self, connection: &ResourceId) -> Result<(), ErrorReply> {
        let snapshot = self.snapshot.borrow();
        let mut here = snapshot
            .image
            .gateways
            .iter()
            .flat_map(|gateway| &gateway.connections);
        if here.any(|one| one.id == *connection) {
            return Ok(());
        }
        let why = view::elsewhere(&snapshot.topology, connection);
        let message = format!(
            "connection {}: {why}; ask there",
            short(connection.as_str())
        );
        Err(ErrorReply::new(ErrorCode::Conflict, message))
    }

    pub(super) async fn vpn_status(&self) -> Result<VpnStatus, ErrorReply> {
        self.ask_vpn(Question::Status).await
    }

    async fn ask_vpn<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, ErrorReply> {
        self.ask(|answer| Asked::Vpn(question(answer))).await
    }
}
