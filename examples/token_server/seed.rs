//! Who is there from the start.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use countersign::entities::{Credential, PasswordHash};
use countersign::policy::PasswordCost;
use countersign::{
    Acl, Actor, AuthenticationToken, CustomerId, Entity, EntityId, ErrorKind, NewSession,
    Organization, OrganizationId, Password, RequestContext, Secret, TokenService,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Problem;

/// Who is there from the start. Loading it twice changes nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seed {
    #[serde(default)]
    users: Vec<User>,
    #[serde(default)]
    entities: Vec<Machine>,
    #[serde(default)]
    customers: Vec<Customer>,
    #[serde(default)]
    sessions: Vec<KnownSession>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct User {
    username: String,
    password: String,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    custom_claims: Map<String, Value>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Machine {
    id: String,
    secret: Option<String>,
    secret_expiry_days: Option<u64>,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    custom_claims: Map<String, Value>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Customer {
    username: String,
    password: String,
    customer_id: CustomerId,
    #[serde(default)]
    otp_required: bool,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KnownSession {
    token: String,
    customer_id: CustomerId,
    #[serde(default)]
    otp_required: bool,
    expires_in_seconds: Option<u64>,
    organization_id: Option<OrganizationId>,
    #[serde(default)]
    acl: Acl,
    #[serde(default)]
    custom_claims: Map<String, Value>,
}

impl Seed {
    pub(crate) fn read(path: &str) -> Result<Self, Problem> {
        let text = fs::read(path).map_err(|error| format!("COUNTERSIGN_SEED: {path}: {error}"))?;
        serde_json::from_slice(&text).map_err(|error| {
            // serde quotes the names of unknown fields, and values of a wrong type: these may be
            // secrets, so of them only the place is told.
            let text = error.to_string();
            let place = format!("at line {} column {}", error.line(), error.column());
            if text.starts_with("invalid") {
                format!("COUNTERSIGN_SEED: a value of a wrong form {place}").into()
            } else {
                format!("COUNTERSIGN_SEED: {text}").into()
            }
        })
    }

    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Registers all who are in it, and starts its sessions. An entry that cannot be is an error that names it.
    pub(crate) async fn load(
        self,
        tokens: &TokenService,
        sessions_last: bool,
    ) -> Result<(), Problem> {
        let mut loading = Loading { tokens, seen: HashSet::new() };
        for (at, user) in self.users.into_iter().enumerate() {
            let entry = format!("users[{at}] ({:?})", user.username);
            loading.user(user).await.map_err(of_entry(&entry))?;
        }
        for (at, machine) in self.entities.into_iter().enumerate() {
            let entry = format!("entities[{at}] ({:?})", machine.id);
            loading.machine(machine).await.map_err(of_entry(&entry))?;
        }
        for (at, customer) in self.customers.into_iter().enumerate() {
            let entry = format!("customers[{at}] ({:?})", customer.username);
            loading.customer(customer).await.map_err(of_entry(&entry))?;
        }
        let mut known = HashSet::new();
        for (at, session) in self.sessions.into_iter().enumerate() {
            let entry = format!("sessions[{at}] (of {:?})", session.customer_id);
            if !known.insert(session.token.clone()) {
                return Err(of_entry(&entry)("an earlier entry has the same token".into()));
            }
            let loaded = if sessions_last {
                session.load_once(tokens).await
            } else {
                session.load(tokens).await
            };
            loaded.map_err(of_entry(&entry))?;
        }
        Ok(())
    }
}

/// Says which entry a problem is about.
fn of_entry(entry: &str) -> impl Fn(Problem) -> Problem {
    move |problem| format!("{entry}: {problem}").into()
}

/// The principals of a seed, while they are registered.
struct Loading<'a> {
    tokens: &'a TokenService,
    seen: HashSet<EntityId>,
}

impl Loading<'_> {
    async fn user(&mut self, user: User) -> Result<(), Problem> {
        let hash = hash(user.password).await?;
        let entity = Entity::user(user.username, hash)?
            .acl(user.acl)
            .custom_claims(user.custom_claims)?
            .organization(organization(user.organization_id))
            .disabled(user.disabled);
        self.register(entity).await.map(drop)
    }

    async fn machine(&mut self, machine: Machine) -> Result<(), Problem> {
        let entity = Entity::machine(machine.id)?
            .acl(machine.acl)
            .custom_claims(machine.custom_claims)?
            .organization(organization(machine.organization_id))
            .disabled(machine.disabled);
        let id = entity.id().clone();
        let is_new = self.register(entity).await?;
        match machine.secret {
            // A secret that was reset since stays reset.
            Some(secret) if is_new => {
                let secret = Secret::dangerous_from_text(secret)?;
                Ok(self.tokens.import_secret(&id, &secret, machine.secret_expiry_days).await?)
            }
            _ => Ok(()),
        }
    }

    async fn customer(&mut self, customer: Customer) -> Result<(), Problem> {
        let hash = hash(customer.password).await?;
        let (name, id) = (customer.username, customer.customer_id);
        let entity = Entity::customer(name, hash, id, customer.otp_required)?
            .acl(customer.acl)
            .organization(organization(customer.organization_id))
            .disabled(customer.disabled);
        self.register(entity).await.map(drop)
    }

    /// Returns whether it is new.
    async fn register(&mut self, entity: Entity) -> Result<bool, Problem> {
        if !self.seen.insert(entity.id().clone()) {
            return Err("an earlier entry has the same name in the same organization".into());
        }
        register(self.tokens, entity).await
    }
}

impl KnownSession {
    /// For a store that lasts, where one that was used up must not come back.
    async fn load_once(self, tokens: &TokenService) -> Result<(), Problem> {
        let token = AuthenticationToken::from_text(&self.token)?;
        if register(tokens, mark_of(&token)?).await? { self.load(tokens).await } else { Ok(()) }
    }

    async fn load(self, tokens: &TokenService) -> Result<(), Problem> {
        let mut new = NewSession::of(self.customer_id)
            .organization(organization(self.organization_id))
            .otp_required(self.otp_required)
            .acl(self.acl)
            .custom_claims(self.custom_claims)?
            .dangerous_token(AuthenticationToken::from_text(&self.token)?);
        if let Some(seconds) = self.expires_in_seconds {
            new = new.lifetime(Duration::from_secs(seconds));
        }
        match tokens.start_session(Actor::Host, new, &RequestContext::without_address()).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error.into()),
            // Or it is there already.
            _ => Ok(()),
        }
    }
}

/// A seed that names no organization is of all.
fn organization(id: Option<OrganizationId>) -> Organization {
    id.map_or(Organization::All, Organization::One)
}

/// Keeps in mind that a session was loaded, as an entity that nobody can be.
fn mark_of(token: &AuthenticationToken) -> Result<Entity, countersign::Error> {
    let key = token.key();
    let digest: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Entity::machine(format!("seeded-session-{digest}"))?.disabled(true))
}

/// The policy's rules do not apply to the passwords of a seed: its author chooses them.
async fn hash(password: String) -> Result<PasswordHash, Problem> {
    let password = Password::new(password)?;
    let hashing = move || PasswordHash::create(&password, PasswordCost::default());
    Ok(tokio::task::spawn_blocking(hashing).await??)
}

/// Returns whether it is new. What is stored stays as it is, and where the seed differs from it, that is
/// logged. A principal that the seed disables and the store does not, or that cannot be the one that is stored, is
/// an error.
async fn register(tokens: &TokenService, entity: Entity) -> Result<bool, Problem> {
    let registered = tokens.register(entity.clone()).await;
    let Err(conflict) = registered else { return Ok(true) };
    if conflict.kind() != ErrorKind::Conflict {
        return Err(conflict.into());
    }
    let Some(stored) = tokens.find_entity(entity.id()).await? else {
        return Err(format!("it cannot be registered: {conflict}").into());
    };
    if entity.organization_id() != stored.organization_id() {
        // Of machine clients alone: their ids are unique over all organizations.
        return Err(
            "it cannot be registered: another organization has a machine client of that id".into(),
        );
    }
    if entity.is_disabled() && !stored.is_disabled() {
        return Err("it is disabled there, and not in the store".into());
    }
    let customer = |entity: &Entity| match entity.credential() {
        Credential::Customer { customer_id, otp_required, .. } => {
            Some((customer_id.clone(), *otp_required))
        }
        _ => None,
    };
    let differing = [
        ("acl", entity.acl != stored.acl),
        ("customClaims", entity.custom_claims != stored.custom_claims),
        ("customerId or otpRequired", customer(&entity) != customer(&stored)),
        ("disabled", entity.is_disabled() != stored.is_disabled()),
    ];
    let differing: Vec<_> = differing.iter().filter(|(_, differs)| *differs).collect();
    if !differing.is_empty() {
        let fields: Vec<_> = differing.iter().map(|(field, _)| *field).collect();
        let organization = entity.organization_id().map_or("all", OrganizationId::as_str);
        tracing::warn!(
            organization,
            "seed: {}:{} differs from what is stored in {}, and what is stored applies; remove it \
             from the store, or have the seed say the same",
            entity.id().subject_type(),
            entity.id().name(),
            fields.join(", ")
        );
    }
    Ok(false)
}
