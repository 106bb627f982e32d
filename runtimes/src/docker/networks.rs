//! Networks and named volumes.

use std::collections::HashMap;

use bollard::errors::Error;
use bollard::models::{NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{ListNetworksOptions, ListVolumesOptions, RemoveVolumeOptions};

use super::api::{Api, epoch_seconds, label_filter};
use crate::call::Action;
use crate::error::{EngineError, Result};
use crate::types::*;

impl Api {
    pub(crate) async fn create_network(&self, spec: &NetworkSpec) -> Result<String> {
        let action = Action::on("create", "network", &spec.name)?;
        // Docker keeps its bridge networks apart from each other by itself.
        let bridge = |name: &String| ("com.docker.network.bridge.name".to_owned(), name.clone());
        let request = NetworkCreateRequest {
            name: spec.name.clone(),
            driver: Some("bridge".into()),
            internal: Some(spec.internal),
            options: Some(spec.bridge_name.iter().map(bridge).collect()),
            labels: Some(spec.labels.clone().into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        let answer = async {
            self.client.create_network(request).await.map_err(|error| match error {
                // "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the
                // network" with 404 or 500, since Docker 26.1 "all predefined address pools have been fully subnetted".
                Error::DockerResponseServerError { message, .. } if message.contains("address pool") => {
                    EngineError::NoAddresses { action: action.text.clone(), answer: message }
                }
                Error::DockerResponseServerError { status_code: 404, message } => {
                    action.refused(Some(404), message)
                }
                // Before version 25 a second network of the name was made.
                Error::DockerResponseServerError { status_code: 409, message }
                    if message.contains("already exists") =>
                {
                    action.conflict()
                }
                other => self.error(&action, other),
            })
        };
        Ok(action.wait(answer).await?.id)
    }

    pub(crate) async fn remove_network(&self, network: &str) -> Result<()> {
        let action = Action::on("remove", "network", network)?;
        ignore_missing(self.ask(&action, self.client.remove_network(network)).await)
    }

    pub(crate) async fn networks(&self, labels: &Labels) -> Result<Vec<NetworkInfo>> {
        let action = Action::general("list networks");
        let options = ListNetworksOptions { filters: Some(label_filter(labels)) };
        let found = self.ask(&action, self.client.list_networks(Some(options))).await?;
        let info = |one: bollard::models::Network| NetworkInfo {
            id: one.id.unwrap_or_default(),
            name: one.name.unwrap_or_default(),
            labels: one.labels.unwrap_or_default().into_iter().collect(),
            created_at: one.created.as_deref().and_then(epoch_seconds),
            subnet: one.ipam.and_then(|ipam| ipam.config?.into_iter().next()?.subnet),
        };
        Ok(found.into_iter().map(info).collect())
    }

    pub(crate) async fn create_volume(&self, name: &str, labels: &Labels) -> Result<()> {
        let action = Action::on("create", "volume", name)?;
        let labels: HashMap<String, String> = labels.clone().into_iter().collect();
        let request = VolumeCreateRequest {
            name: Some(name.into()),
            labels: Some(labels),
            ..VolumeCreateRequest::default()
        };
        self.ask(&action, self.client.create_volume(request)).await.map(drop)
    }

    pub(crate) async fn remove_volume(&self, name: &str) -> Result<()> {
        let action = Action::on("remove", "volume", name)?;
        let removal = self.client.remove_volume(name, None::<RemoveVolumeOptions>);
        ignore_missing(self.ask(&action, removal).await)
    }

    pub(crate) async fn volumes(&self, labels: &Labels) -> Result<Vec<VolumeInfo>> {
        let action = Action::general("list volumes");
        let options = ListVolumesOptions { filters: Some(label_filter(labels)) };
        let found = self.ask(&action, self.client.list_volumes(Some(options))).await?;
        let info = |one: bollard::models::Volume| VolumeInfo {
            name: one.name,
            labels: one.labels.into_iter().collect(),
        };
        Ok(found.volumes.unwrap_or_default().into_iter().map(info).collect())
    }
}

/// A removal's result, with "already gone" as success.
pub(crate) fn ignore_missing(result: Result<()>) -> Result<()> {
    match result {
        Err(EngineError::NotFound { .. }) => Ok(()),
        other => other,
    }
}
