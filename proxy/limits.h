/* Every cap and timeout, with its reason. Times are in milliseconds unless
 * the name says otherwise. What an operator may change is in config.h; its
 * defaults are here. */
#ifndef POSTERN_LIMITS_H
#define POSTERN_LIMITS_H

enum limits {
    /* One datagram. RFC 7252 4.6 suggests 1152 for a message; devices on
     * Ethernet send a little more, and nothing sane sends twice that. */
    DATAGRAM_MAX = 2304, /* with DTLS overhead and a token in a psk_identity */
    MESSAGE_MAX = 2048,  /* a CoAP message, both ways; larger: 4.13 or 5.02 */
    BODY_SURE = 1024,    /* the payload that a 4.13 asks for: a block of RFC 7959 */
    /* Datagrams an event before the socket yields, and as many as go to a
     * device in one piece (udp.c). */
    DATAGRAM_BATCH = 64,

    /* RFC 7252 4.8 */
    ACK_TIMEOUT_MS = 2000,
    ACK_RANDOM_PERCENT = 50, /* ACK_RANDOM_FACTOR 1.5 */
    MAX_RETRANSMIT = 4,
    EXCHANGE_LIFETIME_MS = 247000, /* 4.8.2 */
    NON_LIFETIME_MS = 145000,      /* 4.8.2 */
    MAX_TRANSMIT_WAIT_MS = 93000,  /* 4.8.2 */

    /* An empty ACK after this long without an answer: well before the
     * client's first retransmission at ACK_TIMEOUT (RFC 7252 5.2.2). */
    SEPARATE_AFTER_MS = 1000,
    /* After a device's ACK of our CON we wait this long for the answer
     * itself: its own transmit wait on top of some work. */
    SEPARATE_WAIT_MS = 120000,

    /* A NON is sent once, so what is lost is lost for good: it holds the
     * device's window only this long. Work that takes longer is for a CON. */
    NON_WAIT_MS = 30000,
    /* The gate's own questions to a device (discovery): clients wait behind
     * them, so they hold the window for moments only. */
    OWN_WAIT_MS = 2000,
    /* Requests that a device has acknowledged and not answered, beyond its
     * window: they are no longer outstanding (RFC 7252 4.7), but a constrained
     * device works on each. */
    DEVICE_ACKED = 16,
    DEVICE_WINDOW_MAX = 4096,
    /* Observations at one device (RFC 7641 7: each costs it memory, and
     * messages that nobody asked for one by one). */
    DEVICE_OBSERVATIONS = 256,

    /* Transmissions unheard (6 to 9 s) before another URL is tried, or we
     * wonder whether the device has forgotten its session with us. Who is
     * there has had time to acknowledge (PROCESSING_DELAY, RFC 7252 4.8.2). */
    DEVICE_SUSPECT_TRIES = 2,
    RELIABLE_SUSPECT_MS = 8000, /* as DEVICE_SUSPECT_TRIES, where nothing is sent again */
    REQUEST_MOVES_MAX = 4,      /* times that a request begins anew on a connection */
    UPLINK_OPEN_MS = 10000,     /* a handshake with a device; clients wait behind it */
    RESUME_LIFE_MS = 86400000,  /* RFC 5246 F.1.4 */
    PING_WAIT_MS = 3000,        /* for an answer to an empty CON: one transmission (4.3) */
    DEVICE_URLS_MAX = 4,
    /* The system's resolver does not tell how long a name is good for. */
    NAME_LIFE_MS = 300000,
    NAME_RETRY_MS = 10000,
    DEVICE_PAUSE_MAX_MS = 60000, /* longer, and a queue would outlive its clients */

    /* Observations (RFC 7641). Each at a device keeps a request and the newest
     * representation; a longer request is answered once. */
    OBSERVATIONS = 1024, /* at the devices of a worker */
    OBSERVE_REQUEST_MAX = 1024,
    OBSERVE_PACE_MS = 50,     /* a device's states are told on this often at the most, */
    OBSERVE_BURST = 8,        /* but for so many */
    OBSERVE_NOTICES = 256,    /* of them a turn, and the sockets have theirs */
    OBSERVE_ROOM_MS = 5,      /* until another worker has room for one */
    OBSERVE_RETRY_MIN_S = 10, /* a device that did not answer is asked again, doubling */
    OBSERVE_RETRY_MAX_S = 900,
    OBSERVE_RENEW_MAX_MS = 3600000, /* whatever the Max-Age: a device may restart unseen */
    OBSERVE_LATE_MIN_MS = 5000,     /* beyond Max-Age (RFC 7641 3.3.1) */
    OBSERVE_LATE_MAX_MS = 15000,
    OBSERVE_RETURN_MS = 2000, /* after a device is back: not all at once */

    /* Clients' observations. Each keeps its request and is judged with each
     * notification; a client beyond its share is answered without. */
    WATCHES = 16384, /* of a worker */
    WATCHES_PER_ASSOC = 32,
    /* One is as CON at least once a day (RFC 7641 4.5); more often, so that
     * who only listens is not idle for ASSOC_IDLE_S, and after so many NON. */
    WATCH_CON_MS = 43200000,
    WATCH_NON_MAX = 64,
    /* Between two as NON when no round trip was measured (RFC 7641 4.5.1);
     * what comes sooner goes as CON, and the client's ACK sets the pace. */
    WATCH_GAP_MS = 3000,
    WATCH_RETRY_MS = 1000,  /* there was no room for one */
    WATCH_MAIL_MS = 20,     /* nor for a word to another worker */
    WATCH_RECORD_MS = 1000, /* one audit record for those that are permitted in it */

    /* Devices by HTTP (uplink_http.h). A body is put together, or kept for its
     * blocks, here: images and firmware go elsewhere. */
    HTTP_BODY_MAX = 256 << 10,
    HTTP_BODIES_BYTES = 8 << 20, /* of a worker; the oldest give way */
    HTTP_BODIES = 256,           /* as BLOCK_TRANSFERS */
    HTTP_WINDOW = 4,             /* unless told: each is a connection */
    HTTP_WINDOW_MAX = 64,
    HTTP_KEPT = 64, /* idle connections of a worker */
    /* For an answer, all in all a minute, as web proxies wait. */
    HTTP_ANSWER_MS = 60000,
    /* CSEs that notify by HTTP (http_server.h), of one address each. */
    HTTP_CLIENTS = 16, /* connections to one listener */
    HTTP_CLIENT_IDLE_MS = 60000,
    HTTP_CLIENT_WAIT_MS = 180000, /* longer than any answer from a client or device takes */

    DEVICE_QUEUE = 128,   /* requests that wait for a device's window; then 5.03 */
    DEVICE_MAX_AGE_S = 5, /* Max-Age of that 5.03 */
    /* Threads that `auto` means at most: what one can do is far beyond a
     * house, and each holds all grants. More are to be asked for. */
    WORKERS_AUTO_MAX = 8,
    EXCHANGES = 8192,         /* slots of the exchange table of a worker */
    EXCHANGES_PER_ASSOC = 64, /* under way for one client; then 4.29: it is its own doing */
    CLIENT_MAX_AGE_S = 2,     /* Max-Age of that 4.29: most of them end in less */
    FULL_MAX_AGE_S = 60,      /* of a 5.03 to a token that finds no room (RFC 7252 5.10.5) */
    /* Posts over plain coap whose token is asked about: anybody can send
     * them, from any address. The rest of the table is for clients. */
    EXCHANGES_PLAIN = 2048,
    PLAIN_MAX_AGE_S = 2, /* Max-Age of the 4.29 beyond: an answer takes about so long */

    ASSOCS = 100000, /* associations of a worker: asleep they have room in 64 MiB */
    /* Awake a DTLS session has 40 KiB of buffers. Asleep it has none, and
     * costs some microseconds to wake: worth it after a pause that is longer
     * than those within a client's work. */
    ASSOCS_AWAKE = 10000,
    SLEEP_AFTER_S = 10,
    SLEEP_BATCH = 64, /* put to sleep, or closed as idle, in one turn of the loop */
    /* So many fell asleep since, and so long ago: their memory goes back to
     * the system. That takes some 4 us for each, at once: few at a time. */
    GIVE_BACK_MIN = 256,
    GIVE_BACK_MS = 250,
    GIVE_BACK_FEW_MS = 10000, /* fewer than that */
    /* The last flight of a handshake is kept so long for a client that did
     * not get it: its timer has run five times by then (RFC 6347 4.2.4). */
    FLIGHT_MS = 31000,
    HANDSHAKES = 256,        /* half-open handshakes; then the oldest gives way */
    HANDSHAKES_PER_NET = 32, /* of them from one /24 or /56 */
    HANDSHAKE_MS = 30000,    /* a handshake that takes longer is dropped */
    /* Handshakes wait for their turn (lobby.h). A flight with ECDHE takes
     * about a millisecond: of a turn that has more than one of them, what
     * came meanwhile waits for all. */
    HANDSHAKE_TURN_US = 300,
    /* Of a worker's time while it serves established clients, one of whose
     * requests in so many then meets a flight; while a crowd waits, so few that
     * their p99 hardly moves; and when nobody is served. */
    HANDSHAKE_BUSY_PERCENT = 5,
    HANDSHAKE_CROWD_PERCENT = 1,
    HANDSHAKE_CROWD = 8, /* flights that wait: more than a few clients' at once */
    HANDSHAKE_PERCENT = 90,
    HANDSHAKE_BUSY_MS = 1000, /* after an established client's last record */
    HANDSHAKE_BURST_MS = 40,  /* saved up: a dozen clients that come at once */
    HANDSHAKE_WAIT_MS = 3000, /* then its client has sent it again twice (RFC 6347 4.2.4.1) */
    HANDSHAKES_WAITING = 64,  /* datagrams; all together less than a second's share */
    HANDSHAKES_WAITING_PER_NET = 32,
    HANDSHAKES_WAITING_PER_HOST = 16, /* of one address; four clients' certificates */
    DTLS_TIMEOUT_MIN_MS = 1000,       /* RFC 6347 4.2.4.1 */
    DTLS_TIMEOUT_MAX_MS = 16000,
    HANDSHAKE_MTU = 1200,          /* of our flights: IPv6's 1280 less headers (RFC 6347 4.1.1.1) */
    PARKED_MAX = 2 * DATAGRAM_MAX, /* of one handshake that waits for its key; more is lost */
    IDENTITY_MAX = 2048,           /* a psk_identity that holds a token */
    /* To an address that has not shown that it is there: bytes for each that
     * came from it (RFC 9175 2.4, as RFC 9000 8). */
    AMPLIFICATION = 3,
    ECHO_LIFE_S = 60,   /* an Echo value is good for one to two of these (RFC 9175 2.3) */
    COOKIE_LIFE_S = 60, /* a DTLS cookie is good for one to two of these */
    ENROLMENT_SOON_S = 30 * 86400, /* told of before its end: time to visit a device */
    ENROLMENT_TELL_MS = 86400000,  /* and how often */
    ENROLMENTS_TOLD = 20,          /* by name; the rest is counted */
    ASSOC_IDLE_S = 86400,          /* an association without traffic is closed */
    GRANTS = 10000,                /* live grants held; then new ones are refused */
    /* Counts of `rate:` that are not full again, of all limits and clients
     * together, 16 bytes each; then 4.29. */
    RATES = 65536,

    CACHE_BYTES = 4 << 20, /* answers kept of all devices, some 10,000 small ones */
    CACHE_BYTES_MIN = 64 << 10,
    CACHE_BYTES_MAX = 1 << 30,
    CACHE_AGE_S = 60, /* without a Max-Age (RFC 7252 5.10.5) */
    /* However long a device says (its option goes to 136 years): what changed
     * otherwise than through us, or with the device itself, is seen then. */
    CACHE_AGE_MAX_S = 3600,

    BLOCK_TRANSFERS = 256, /* bodies under way (block.h); a power of two */
    BLOCK_TRANSFERS_PER_CLIENT = 8,
    /* After its last block a transfer keeps its place from others this long,
     * time for the next to be lost and sent again twice (2 to 3 s, then
     * double). When nobody else comes it may go on for EXCHANGE_LIFETIME. */
    BLOCK_REST_MS = 10000,
    BLOCK_WAIT_MS = 30000, /* then another's first block gets 5.03 */
    /* A body of 100 KB in blocks of 64 to a device that takes a third of a
     * second for each; after it, those who wait come first. */
    BLOCK_HOLD_MS = 600000,
    /* CoAP over TCP (conn.h). A connection with TLS takes some 40 KiB, most of
     * it the library's two records of 16 KiB. */
    CONNS = 1024,               /* open at a time; beyond, strangers are turned away */
    CONNS_HALF = 128,           /* of strangers: no CSM yet, or no TLS; the oldest gives way */
    CONNS_HALF_PER_NET = 32,    /* of them from one /24 or /56 */
    CONN_HALF_MS = 30000,       /* from connect to the CSM: handshake and all */
    CONN_FRAME_MS = 30000,      /* from the first byte of a message to its last */
    CONN_PLAIN_IDLE_MS = 60000, /* without TLS: a stranger's place is for questions, not to keep */
    /* A Ping without any word after it: three segments may have been lost (RFC
     * 6298, 1 + 2 + 4 s), and requests wait. */
    CONN_PONG_MS = 10000,
    /* A device by TCP says nothing for so long: a Ping. NATs and firewalls
     * forget who is silent, some after two minutes (RFC 5382 REQ-5 asks for
     * two hours), and nobody is told. */
    CONN_KEEP_MS = 100000,
    CONN_RELEASE_MS = 30000, /* after a Release, what is under way may finish */
    CONN_OUT_HIGH = 16384,   /* waits for a slow reader: nothing more is read from it */
    CONN_MESSAGES = 32,      /* of one connection a turn: others have theirs */
    CONN_ACCEPTS = 16,       /* of one listener a turn */
    CONN_ACCEPTS_S = 200,    /* a second, of all; each may cost a key exchange. The rest waits
                                in the kernel */
    CONN_NO_ROOM_MS = 1000,  /* out of descriptors: nobody is accepted for so long */

    /* A planned stop: the service manager has read what we sent (sd_notify(3),
     * BARRIER); it is on the same machine, but may be busy with others. */
    KEEPER_WAIT_MS = 3000,
    /* What was kept beside its key is good for so long: an upgrade that stops
     * the daemon first and starts it last, on a slow card. */
    RESTART_MAX_S = 300,

    /* Notifications of CSEs on their way to clients (gate_call.c); each keeps
     * its request. Beyond, the CSE is told to come again. */
    NOTIFY_CALLS = 128,
    /* From a client's ACK to its answer: what an AE does with a notification is
     * little, and the CSE waits for it. */
    NOTIFY_ANSWER_MS = 60000,

    DRAIN_MS = 5000, /* planned stop: what is under way may finish */
};

#endif
