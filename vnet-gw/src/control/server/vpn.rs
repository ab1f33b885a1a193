//! Questions about VPN gateways and connections.

use tokio::sync::oneshot;
use vnet_gw_core::model::ResourceId;

use super::{Asked, Connection, ErrorCode, ErrorReply, KeyAction, Request, Response};
use crate::{
    control::{
        IkeSaList, KeyText, SharedKeyReply, VpnCounts, find_connection, short, vpn_view as view,
    },
    daemon::keys,
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
            Request::SharedKey { connection } => self.key(&connection, KeyAction::Show).await,
            Request::SetSharedKey { connection, value } => {
                let key = keys::parse(value.expose())
                    .map_err(|error| ErrorReply::new(ErrorCode::BadRequest, error))?;
                self.key(&connection, KeyAction::Set(key)).await
            }
            Request::ResetSharedKey { connection, length } => {
                if !(1..=keys::KEY_LONGEST).contains(&length) {
                    let message = format!("length: 1 to {}", keys::KEY_LONGEST);
                    return Err(ErrorReply::new(ErrorCode::BadRequest, message));
                }
                self.key(&connection, KeyAction::Set(keys::generate(length)))
                    .await
            }
            // Answered elsewhere.
            _ => Err(ErrorReply::new(ErrorCode::BadRequest, "no such question")),
        }
    }

    async fn key(&self, name: &str, action: KeyAction) -> Result<Response, ErrorReply> {
        let connection = self.connection(name)?;
        let id = connection.to_string();
        let key = self
            .ask(|answer| Asked::SharedKey {
                connection,
                action,
                answer,
            })
            .await??;
        Ok(Response::SharedKey(SharedKeyReply {
            id,
            value: KeyText::new(keys::text(&key).to_string()),
        }))
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

    async fn vpn_status(&self) -> Result<VpnStatus, ErrorReply> {
        self.ask_vpn(Question::Status).await
    }

    async fn ask_vpn<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, ErrorReply> {
        self.ask(|answer| Asked::Vpn(question(answer))).await
    }
}
