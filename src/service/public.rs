//! The public modules with names of the token service that few hosts use.

pub mod cookies {
    //! Cookies: the one that holds a session's token, and the path to return to after a login.
    //!
    //! A login handler sets a [`SessionCookie`] and redirects to a [`ReturnPath`]; an
    //! [`ExchangeLayer`](crate::ExchangeLayer) reads the cookie of the same name.

    pub use crate::service::http::cookie::{SameSite, SessionCookie};
    pub use crate::service::http::return_path::ReturnPath;
}

pub mod entities {
    //! Registered principals and their credentials.
    //!
    //! An [`Entity`](crate::Entity) is of one [`Credential`], and is listed by an [`EntityFilter`] in pages, each an
    //! [`EntityList`]. Users and customers have a [`PasswordHash`], which a [`PasswordChange`] replaces; machine
    //! clients have [`StoredSecrets`], each a [`StoredSecret`], which is read as an [`IssuedSecret`].

    pub use crate::service::change_password::PasswordChange;
    pub use crate::service::list_entities::{EntityFilter, EntityList};
    pub use crate::service::model::entity::Credential;
    pub use crate::service::model::password::PasswordHash;
    pub use crate::service::model::secret::{StoredSecret, StoredSecrets};
    pub use crate::service::secret::IssuedSecret;
}

pub mod policy {
    //! The settings of a service, in groups, each with a default and the reason for it.
    //!
    //! ```
    //! use std::time::Duration;
    //! use countersign::Policy;
    //!
    //! let policy = Policy::default()
    //!     .sessions(|sessions| sessions.lifetime(Duration::from_secs(8 * 3_600)))
    //!     .principals(|principals| principals.organization_required(true));
    //! ```
    //!
    //! A [`Policy`](crate::Policy) has a setter for each group: [`Tokens`], [`Principals`], [`Sessions`], [`Secrets`],
    //! [`Passwords`], [`Throttle`], [`Http`] and [`Runtime`]. The other types are values of their settings.

    pub use crate::service::model::password::PasswordCost;
    pub use crate::service::model::secret::SecretOperation;
    pub use crate::service::policy::{
        Http, Passwords, Principals, RotationSchedule, Runtime, Secrets, Sessions, Throttle,
        ThrottleLimit, Tokens,
    };
}

pub mod sessions {
    //! Sessions of customers, and their one-time passwords.
    //!
    //! A [`CustomerLogin`] or a [`NewSession`](crate::NewSession) starts a session. Looked up by its token, it is in
    //! one [`SessionState`]: a [`Session`], or a [`PendingSession`], which requires its [`OneTimePassword`]. A
    //! [`SessionList`] is a page of them. Hosts implement [`OneTimePasswordSender`], which delivers a
    //! [`OneTimePasswordMessage`], and [`CustomerDirectory`], which decides for which customers a bearer may start
    //! sessions.

    pub use crate::service::customer_directory::CustomerDirectory;
    pub use crate::service::model::one_time_password::OneTimePassword;
    pub use crate::service::model::session::Session;
    pub use crate::service::one_time_password_sender::{
        OneTimePasswordMessage, OneTimePasswordSender,
    };
    pub use crate::service::session::{CustomerLogin, PendingSession, SessionList, SessionState};
}

pub mod tokens {
    //! Issued tokens, and their revocation.
    //!
    //! A login or a grant yields an [`IssuedToken`], an exchange an [`ExchangedToken`]; either has an
    //! [`AccessToken`], the text to be sent. A connection that outlives its request waits for the token's
    //! [`TokenEnd`], and a [`RevokedSubject`] reports what a revocation of all of a subject's tokens has ended.

    pub use crate::service::exchange::ExchangedToken;
    pub use crate::service::issue::IssuedToken;
    pub use crate::service::model::access_token::AccessToken;
    pub use crate::service::revoke::RevokedSubject;
    pub use crate::service::wait_for_end::TokenEnd;
}
