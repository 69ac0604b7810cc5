PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE countersign_migrations (version INTEGER NOT NULL PRIMARY KEY) STRICT;
INSERT INTO countersign_migrations VALUES(1);
CREATE TABLE countersign_entities (
    subject_type TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (subject_type, name)
) STRICT, WITHOUT ROWID;
INSERT INTO countersign_entities VALUES('customer','ann@example.com',1,'{"form":1,"subject_type":"customer","name":"ann@example.com","credential":{"customer":{"password":"$argon2id$v=19$m=19456,t=2,p=1$gmGiMBG5hWXCvtmm3wZ6Cw$WTSky24YzZeiDmVZpRBYq/HGgE1/003iYJf6ZsVgatA","customer_id":"cus_1","otp_required":true}},"acl":[],"custom_claims":{},"organization_id":null,"disabled":false,"password_set_at":1767225600000000,"version":1}');
INSERT INTO countersign_entities VALUES('entity','aa-1',2,'{"form":1,"subject_type":"entity","name":"aa-1","credential":{"secrets":{"current":{"id":"eac392aa-3e5b-4fd0-9341-713f505633fd","sealed":"giit826cAi93j568ubS0PLHaudqSwHE7MU_EJfSqjtIMH84i6SFKJ60sv-CkrEPeAkgxdRMHUalr_tNOgWTCb4_ARCpMZZj60Ckj","digest":"giit89m45ps5ULRkZ82KpBJ-F0s0X2ObKhbnWR6smlRSJd1P","is_generated":false,"created_at":1767225600000000,"expires_at":1782777600000000},"previous":null}},"acl":[],"custom_claims":{},"organization_id":null,"disabled":false,"password_set_at":null,"version":2}');
INSERT INTO countersign_entities VALUES('user','ops',1,'{"form":1,"subject_type":"user","name":"ops","credential":{"password":"$argon2id$v=19$m=19456,t=2,p=1$RJtJ1H4/TPzyAdP5VRRLFw$ABjd2d2macRGhDdtHAIfMn1AoeZMdWaTxjuGqpWZS6M"},"acl":[],"custom_claims":{},"organization_id":null,"disabled":false,"password_set_at":1767225600000000,"version":1}');
CREATE TABLE countersign_sessions (
    key BLOB NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    customer_id TEXT NOT NULL,
    organization_id TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
INSERT INTO countersign_sessions VALUES(X'6a6953706f8abdd7c9885d25ec33ef839960a248bd7bfab830147c947c467d77',1,'ed02f6cf-c86a-450b-99ea-9a206ee291a7','cus_1',NULL,1767225600000000,1767312000000000,'{"form":1,"key":"amlTcG-KvdfJiF0l7DPvg5lgoki9e_q4MBR8lHxGfXc","id":"ed02f6cf-c86a-450b-99ea-9a206ee291a7","customer_id":"cus_1","organization_id":null,"credential":null,"acl":[{"scope":{},"permissions":["*"]}],"custom_claims":{"tier":"gold"},"one_time_password":null,"created_at":1767225600000000,"updated_at":1767225600000000,"expires_at":1767312000000000,"version":1}');
INSERT INTO countersign_sessions VALUES(X'affa3a4d327ae6e20f515c1993e70bf4a8d96c866352d5cc6a76803f5556d2bc',1,'c3136171-d6b1-4a0d-a8be-0d2ada907df4','cus_1',NULL,1767225600000000,1767312000000000,'{"form":1,"key":"r_o6TTJ65uIPUVwZk-cL9KjZbIZjUtXManaAP1VW0rw","id":"c3136171-d6b1-4a0d-a8be-0d2ada907df4","customer_id":"cus_1","organization_id":null,"credential":null,"acl":[],"custom_claims":{},"one_time_password":{"code":{"digest":"giit81_991AeHdmr09hsbl2Y5yrbD_ZnlPdy1Hkk9KIhqISf","expires_at":1767226200000000},"tries_left":5,"resends_left":3,"sent_at":1767225600000000},"created_at":1767225600000000,"updated_at":1767225600000000,"expires_at":1767312000000000,"version":1}');
CREATE TABLE countersign_revocations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    until INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
INSERT INTO countersign_revocations VALUES(1,1767312060000000,'{"form":1,"target":{"entity_changed":{"subject_type":"entity","name":"aa-1"}},"until":1767312060000000}');
INSERT INTO countersign_revocations VALUES(2,1767312060000000,'{"form":1,"target":{"token":"a-token-of-the-first-release"},"until":1767312060000000}');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('countersign_revocations',2);
CREATE INDEX countersign_sessions_by_age ON countersign_sessions (created_at, key);
CREATE INDEX countersign_sessions_by_customer ON countersign_sessions (customer_id, created_at, key);
CREATE INDEX countersign_sessions_by_organization
    ON countersign_sessions (organization_id, created_at, key) WHERE organization_id IS NOT NULL;
CREATE INDEX countersign_sessions_by_end ON countersign_sessions (expires_at);
CREATE INDEX countersign_revocations_by_end ON countersign_revocations (until);
COMMIT;
