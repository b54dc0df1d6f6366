/* pep/key_file, pep/keys: what a key file may be, and whose key is found. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../pep/crypto_jose.h"
#include "../pep/keys.h"
#include "fake_authorities.h"
#include "support_hex.h"

static char dir[] = "/tmp/postern-keys-XXXXXX";
static char diag_text[4096];

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void put_file(const char *name, struct bytes text, mode_t mode)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.p, 1, text.n, f), text.n);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

/* From tests/vectors/keys, behind `before`. */
static void put_pem(const char *name, const char *from, const char *second, mode_t mode)
{
    uint8_t text[8192];
    struct buf b = buf_on(text, sizeof text);
    for (int i = 0; i < 2; i++) {
        const char *which = i ? second : from;
        char path[512];
        if (!which)
            continue;
        snprintf(path, sizeof path, "%s/vectors/keys/%s", TESTS_DIR, which);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        b.n += fread(text + b.n, 1, sizeof text - b.n, f);
        fclose(f);
    }
    put_file(name, buf_bytes(&b), mode);
}

static const char *diag_of(struct buf *b)
{
    size_t n = b->full ? 0 : b->n;
    diag_text[n] = 0;
    return diag_text;
}

#define K16   "000102030405060708090a0b0c0d0e0f"
#define X     "bac5b11cad8f99f9c72b05cf4b9e26d244dc189f745228255a219a86d6a09eff"
#define Y     "20138bf82dc1b6d562be0fa54ab7804a3a64b6d72ccfed6b6fb6ed28bbfc117e"
#define D     "57c92077664146e876760c9520d054aa93c3afb04e306705db6090308507b4d3"
#define JWK_X "usWxHK2PmfnHKwXPS54m0kTcGJ90UiglWiGahtagnv8"
#define JWK_D "V8kgd2ZBRuh2dgyVINBUqpPDr7BOMGcF22CQMIUHtNM"
#define JWK_EC                                                                                     \
    "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" JWK_X                                             \
    "\",\"y\":\"IBOL-C3BttVivg-lSreASjpkttcsz-1rb7btKLv8EX4\""
#define JWK_OCT "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0ODw\""
#define EC      "a40102 2001 215820" X " 225820" Y

/* ---- files ---- */

struct file_row {
    const char *name;
    const char *cbor; /* hex of the content, or */
    const char *text; /* the content, or */
    const char *pem;  /* a file of vectors/keys */
    const char *pem2;
    mode_t mode;
    enum key_file_use use;
    size_t keys;      /* 0: refused, and */
    const char *says; /* the diagnostic has this */
};

static const struct file_row files[] = {
    {"key set, 0640", "81 a20104 2050" K16, 0, 0, 0, 0640, 0, 1, 0},
    {"key set, 0600", "81 a20104 2050" K16, 0, 0, 0, 0600, 0, 1, 0},
    {"key set, 0400", "81 a20104 2050" K16, 0, 0, 0, 0400, 0, 1, 0},
    {"key set, 0644", "81 a20104 2050" K16, 0, 0, 0, 0644, 0, 0, "chmod 0640"},
    {"key set, 0660", "81 a20104 2050" K16, 0, 0, 0, 0660, 0, 0, "chmod 0640"},
    {"key set, 0641", "81 a20104 2050" K16, 0, 0, 0, 0641, 0, 0, "chmod 0640"},
    {"one COSE_Key", "a20104 2050" K16, 0, 0, 0, 0600, 0, 1, 0},
    {"a byte behind", "81 a20104 2050" K16 "00", 0, 0, 0, 0600, 0, 0, "well-formed"},
    {"two keys", "82 a20104 2050" K16 EC, 0, 0, 0, 0600, 0, 2, 0},
    {"two keys, the second bad", "82 a20104 2050" K16 "a10104", 0, 0, 0, 0600, 0, 0, "key 2: k is"},
    {"an empty set", "80", 0, 0, 0, 0600, 0, 0, "no key"},
    {"a set of integers", "8101", 0, 0, 0, 0600, 0, 0, "key 1"},
    {"CBOR, but no key", "f6", 0, 0, 0, 0600, 0, 0, "no COSE_Key"},
    {"a public key, 0644", "81" EC, 0, 0, 0, 0644, 0, 1, 0},
    {"a public key, 0646", "81" EC, 0, 0, 0, 0646, 0, 0, "chmod o-w"},
    {"a private key, 0640", "81 a30102 2001 235820" D, 0, 0, 0, 0640, 0, 1, 0},
    {"a private key, 0644", "81 a30102 2001 235820" D, 0, 0, 0, 0644, 0, 0, "chmod 0640"},
    {"hexadecimal", 0, K16 "\n", 0, 0, 0640, 0, 1, 0},
    {"hexadecimal, upper case, spaces", 0, " \n000102030405060708090A0B0C0D0E0F \r\n\n", 0, 0, 0640,
     0, 1, 0},
    {"hexadecimal with a comment", 0, "# test key\n" K16 "\n# end\n", 0, 0, 0640, 0, 1, 0},
    {"hexadecimal, 0644", 0, K16, 0, 0, 0644, 0, 0, "chmod 0640"},
    {"hexadecimal, odd", 0, K16 "0", 0, 0, 0640, 0, 0, "odd"},
    {"hexadecimal, 15 bytes", 0, "0102030405060708090a0b0c0d0e0f", 0, 0, 0640, 0, 0, "15 bytes"},
    {"hexadecimal, 67 bytes", 0, K16 K16 K16 K16 "000000", 0, 0, 0640, 0, 0, "longer"},
    {"hexadecimal, two keys", 0, K16 "\n" K16 "\n", 0, 0, 0640, 0, 0, "more than one"},
    {"no hexadecimal", 0, "secret", 0, 0, 0640, 0, 0, "byte 1 is"},
    {"only a comment", 0, "# nothing\n", 0, 0, 0640, 0, 0, "no key"},
    {"nothing", 0, "", 0, 0, 0640, 0, 0, "empty"},
    {"JWK Set", 0, "{\"keys\": [" JWK_OCT "}," JWK_EC "}]}", 0, 0, 0640, 0, 2, 0},
    {"JWK Set, 0644", 0, "{\"keys\": [" JWK_OCT "}," JWK_EC "}]}", 0, 0, 0644, 0, 0, "chmod 0640"},
    {"JWK Set, empty", 0, "{\"keys\": []}", 0, 0, 0640, 0, 0, "no key"},
    {"JWK Set, the second bad", 0, "{\"keys\": [" JWK_EC "}, {\"kty\": \"oct\"}]}", 0, 0, 0640, 0,
     0, "key 2: k is"},
    {"JWK", 0, JWK_EC "}", 0, 0, 0644, 0, 1, 0},
    {"JWK, a byte behind", 0, JWK_EC "}x", 0, 0, 0644, 0, 0, "JSON"},
    {"JWK, twice a name", 0, JWK_EC ",\"kty\":\"EC\"}", 0, 0, 0644, 0, 0, "JSON"},
    {"JWK, private, 0640", 0, JWK_EC ",\"d\":\"" JWK_D "\"}", 0, 0, 0640, 0, 1, 0},
    {"JWK, private, 0644", 0, JWK_EC ",\"d\":\"" JWK_D "\"}", 0, 0, 0644, 0, 0, "chmod 0640"},
    {"JWK, private of another", 0, JWK_EC ",\"d\":\"" JWK_X "\"}", 0, 0, 0640, 0, 0, "d is not"},
    {"JWK, 15 bytes", 0, "{\"kty\":\"oct\",\"k\":\"AAECAwQFBgcICQoLDA0O\"}", 0, 0, 0640, 0, 0,
     "too short"},
    {"JSON, but no key", 0, "{\"error\": 1}", 0, 0, 0640, 0, 0, "kty"},
    {"PEM P-256", 0, 0, "p256.pub", 0, 0644, 0, 1, 0},
    {"PEM P-384", 0, 0, "p384.pub", 0, 0644, 0, 1, 0},
    {"PEM P-521", 0, 0, "p521.pub", 0, 0644, 0, 1, 0},
    {"PEM, two", 0, 0, "p521.pub", "p256.pub", 0644, 0, 2, 0},
    {"PEM, the second RSA", 0, 0, "p521.pub", "rsa.pub", 0644, 0, 2, 0},
    {"PEM Ed25519", 0, 0, "ed.pub", 0, 0644, 0, 0, "key 1 is no public key"},
    {"PEM secp256k1", 0, 0, "k1.pub", 0, 0644, 0, 0, "key 1 is no public key"},
    {"PEM private, to check", 0, 0, "p256.pem", 0, 0600, 0, 0, "-pubout"},
    {"PEM private, to mint", 0, 0, "p256.pem", 0, 0600, KEY_FILE_MINT, 1, 0},
    {"PEM private, 0644", 0, 0, "p256.pem", 0, 0644, KEY_FILE_MINT, 0, "chmod 0640"},
    {"PEM private, PKCS 8", 0, 0, "p384.pem", 0, 0600, KEY_FILE_MINT, 1, 0},
    {"PEM private, P-521", 0, 0, "p521.pem", 0, 0600, KEY_FILE_MINT, 1, 0},
    {"PEM private, with parameters", 0, 0, "p256param.pem", 0, 0600, KEY_FILE_MINT, 1, 0},
    {"PEM private, encrypted", 0, 0, "enc.pem", 0, 0600, KEY_FILE_MINT, 0, "of no use"},
    {"PEM cut", 0, "-----BEGIN PUBLIC KEY-----\nMFkw", 0, 0, 0644, 0, 0, "does not end"},
    {"PEM of junk", 0, "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", 0, 0, 0644,
     0, 0, "key 1 is no public key"},
};

static void test_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const struct file_row *r = &files[i];
        if (r->pem)
            put_pem("k", r->pem, r->pem2, r->mode);
        else
            put_file("k", r->cbor ? unhex(r->cbor) : bytes_str(r->text), r->mode);
        struct key k[4];
        size_t n = 0;
        struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
        bool ok = key_file_read(path_of("k"), r->use, k, 4, &n, &diag);
        if (ok != (r->keys != 0) || n != r->keys)
            fail_msg("%s: %zu keys: %s", r->name, n, diag_of(&diag));
        const char *said = diag_of(&diag);
        if (!ok && (!strstr(said, r->says) || !strstr(said, path_of("k"))))
            fail_msg("%s: wanted \"%s\", got: %s", r->name, r->says, said);
        unlink(path_of("k"));
    }
}

static bool read_fails(const char *name, const char *says)
{
    struct key k[2];
    size_t n = 0;
    struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
    return !key_file_read(path_of(name), KEY_FILE_CHECK, k, 2, &n, &diag) &&
           strstr(diag_of(&diag), says);
}

static void test_odd_files(void **state)
{
    (void)state;
    assert_true(read_fails("missing", "No such file"));
    assert_int_equal(mkdir(path_of("d"), 0700), 0);
    assert_true(read_fails("d", "regular"));
    rmdir(path_of("d"));
    assert_int_equal(mkfifo(path_of("f"), 0600), 0);
    assert_true(read_fails("f", "regular"));
    unlink(path_of("f"));
    uint8_t *big = calloc(1, KEY_FILE_MAX + 1);
    put_file("b", bytes_of(big, KEY_FILE_MAX + 1), 0600);
    free(big);
    assert_true(read_fails("b", "larger"));
    put_file("b", unhex("83 a20104 2050" K16 "a20104 2050" K16 "a20104 2050" K16), 0600);
    assert_true(read_fails("b", "more than 2 keys"));
    unlink(path_of("b"));
}

static void test_psk(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        mode_t mode;
        size_t n;
        const char *says;
    } rows[] = {
        {"16 bytes", K16 "\n", 0640, 16, 0},
        {"32 bytes", K16 K16 "\n", 0600, 32, 0},
        {"15 bytes", "0102030405060708090a0b0c0d0e0f\n", 0600, 0, "15 bytes"},
        {"33 bytes", K16 K16 "00\n", 0600, 0, "longer than 32"},
        {"world-readable", K16 "\n", 0644, 0, "chmod 0640"},
        {"group-writable", K16 "\n", 0660, 0, "chmod 0640"},
        {"a password", "swordfish\n", 0600, 0, "byte 1 is no hexadecimal"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t key[TOKEN_KEY_MAX];
        size_t n = 0;
        struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
        put_file("psk", bytes_str(rows[i].text), rows[i].mode);
        bool ok = key_file_read_psk(dir, "psk", key, &n, &diag);
        if (ok != (rows[i].n != 0) || n != rows[i].n)
            fail_msg("%s: %s", rows[i].name, diag_of(&diag));
        if (!ok && !strstr(diag_of(&diag), rows[i].says))
            fail_msg("%s: %s", rows[i].name, diag_of(&diag));
    }
    uint8_t key[TOKEN_KEY_MAX];
    size_t n;
    struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
    put_file("psk", BYTES_LIT(K16), 0600);
    assert_true(key_file_read_psk("/nowhere", path_of("psk"), key, &n, &diag));
    assert_true(bytes_equal(bytes_of(key, n), unhex(K16)));
    unlink(path_of("psk"));
}

static void test_create(void **state)
{
    (void)state;
    struct key made[2], back[2];
    size_t n;
    struct stat st;
    struct buf diag = buf_on(diag_text, sizeof diag_text - 1);
    umask(0);
    assert_true(key_generate(-7, BYTES_LIT("sign"), &made[0]));
    assert_true(key_generate(10, BYTES_NONE, &made[1]));
    assert_true(key_file_create(path_of("new"), made, 2, true, &diag));
    assert_int_equal(stat(path_of("new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(key_file_read(path_of("new"), KEY_FILE_MINT, back, 2, &n, &diag));
    assert_int_equal(n, 2);
    assert_true(bytes_equal(key_secret(&back[0]), key_secret(&made[0])));
    assert_false(key_file_create(path_of("new"), made, 2, true, &diag));
    assert_non_null(strstr(diag_of(&diag), "File exists"));
    unlink(path_of("new"));
    assert_true(key_file_create(path_of("new"), made, 1, false, &diag));
    assert_true(key_file_read(path_of("new"), KEY_FILE_CHECK, back, 2, &n, &diag));
    assert_false(back[0].has_secret);
    unlink(path_of("new"));
}

/* ---- the snapshot ---- */

static struct keys *load(const struct policy_authority *a, size_t n, struct buf *diag)
{
    struct policy p = {a, n};
    *diag = buf_on(diag_text, sizeof diag_text - 1);
    return keys_load(&p, dir, diag);
}

static size_t found(const struct keys *k, int authority, int alg, const char *kid,
                    struct keys_found *out)
{
    keys_find(k, authority, crypto_alg(alg), bytes_str(kid), out);
    return out->n;
}

static void test_find(void **state)
{
    (void)state;
    /* one: a signing key with d, two MAC keys of which one has a kid; two: a
     * PEM key, and a derivation key beside another of the same kid "a". */
    put_file("one",
             unhex("83 a40102 024161 2001 235820" D "a40104 024162 0305 205820" K16 K16
                   "a30104 0305 205820" K16 K16),
             0600);
    put_file("two", unhex("82 a40104 024161 0305 205820" K16 K16 "a30104 0329 205820" K16 K16),
             0600);
    put_pem("three", "p256.pub", NULL, 0644);
    const struct policy_authority a[] = {
        {.name = "one", .keys = "one", .dialect = POLICY_RFC9200},
        {.name = "two", .keys = "two", .dialect = POLICY_ACE07},
        {.name = "three", .keys = "three"},
    };
    struct buf diag;
    struct keys *k = load(a, 3, &diag);
    if (!k)
        fail_msg("%s", diag_of(&diag));
    assert_int_equal(keys_count(k), 6);
    assert_int_equal(keys_dialect(k, 1), POLICY_ACE07);
    assert_int_equal(keys_dialect(k, 0), POLICY_RFC9200);
    assert_int_equal(keys_dialect(k, -1), POLICY_RFC9200);
    assert_null(keys_derivation(k, 0));
    assert_non_null(keys_derivation(k, 1));

    struct keys_found f;
    assert_int_equal(found(k, -1, -7, "a", &f), 2); /* its own, then the one without kid */
    assert_int_equal(f.key[0]->authority, 0);
    assert_int_equal(f.key[1]->authority, 2);
    assert_false(f.key[0]->has_secret); /* d stays outside */
    assert_int_equal(f.key[0]->secret_n, 0);
    assert_true(f.kid_known);
    assert_int_equal(found(k, -1, -7, "z", &f), 1);
    assert_false(f.kid_known);
    assert_int_equal(f.key[0]->authority, 2);
    assert_int_equal(found(k, -1, -7, "", &f), 2); /* without kid first */
    assert_int_equal(f.key[0]->authority, 2);
    assert_int_equal(found(k, -1, 5, "a", &f), 2);
    assert_int_equal(f.key[0]->authority, 1);
    assert_int_equal(found(k, 0, 5, "a", &f), 1);
    assert_int_equal(f.key[0]->kid_n, 0);
    assert_int_equal(found(k, -1, 5, "", &f), 3);
    assert_int_equal(found(k, -1, -35, "a", &f), 0);
    assert_true(f.kid_known);
    assert_int_equal(found(k, 2, 5, "a", &f), 0);
    assert_false(f.kid_known);
    keys_free(k);
    unlink(path_of("one"));
    unlink(path_of("two"));
    unlink(path_of("three"));
}

static void test_load_errors(void **state)
{
    (void)state;
    struct buf diag;
    struct policy_authority a[] = {{.name = "as", .keys = "k"}, {.name = "b", .keys = "missing"}};
    put_file("k", unhex("a30104 0329 2050" K16), 0600);
    assert_null(load(a, 1, &diag));
    assert_non_null(strstr(diag_of(&diag), "no key that could protect"));
    put_file("k", unhex("83 a30104 0329 2050" K16 "a30104 0329 2050" K16 "a20104 2050" K16), 0600);
    assert_null(load(a, 1, &diag));
    assert_non_null(strstr(diag_of(&diag), "more than one key-derivation"));
    put_file("k", unhex("81 a20104 2050" K16), 0644);
    assert_null(load(a, 2, &diag)); /* both are named */
    assert_non_null(strstr(diag_of(&diag), "chmod 0640"));
    assert_non_null(strstr(diag_text, "missing"));
    a[0].keys = NULL;
    assert_null(load(a, 1, &diag));
    assert_non_null(strstr(diag_of(&diag), "no keys"));
    a[0].keys = "k";
    put_file("k", unhex("84 a20104 2050" K16 "a20104 2050" K16 "a20104 2050" K16 "a20104 2050" K16),
             0600);
    struct keys *k = load(a, 1, &diag);
    assert_non_null(k);
    keys_free(k);
    put_file("k",
             unhex("85 a20104 2050" K16 "a20104 2050" K16 "a20104 2050" K16 "a20104 2050" K16
                   "a20104 2050" K16),
             0600);
    assert_null(load(a, 1, &diag));
    assert_non_null(strstr(diag_of(&diag), "have no kid"));
    put_file("k",
             unhex("85 a30104 024161 2050" K16 "a30104 024161 2050" K16 "a30104 024161 2050" K16
                   "a30104 024161 2050" K16 "a30104 024161 2050" K16),
             0600);
    assert_null(load(a, 1, &diag));
    assert_non_null(strstr(diag_of(&diag), "the same kid"));
    unlink(path_of("k"));
    k = load(NULL, 0, &diag); /* only enrolled subjects */
    assert_non_null(k);
    assert_int_equal(keys_count(k), 0);
    keys_free(k);
    keys_free(NULL);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

/* ---- algorithms that the policy names ---- */

struct algorithms_row {
    const char *name;
    enum policy_dialect dialect;
    const char *names[3];
    const char *says; /* the diagnostic has this; NULL: it loads, and */
    bool ec, mac;     /* these keys of the file count */
};

static const struct algorithms_row algorithms[] = {
    {"none named", POLICY_RFC9200, {0}, 0, true, true},
    {"one", POLICY_RFC9200, {"ES256"}, 0, true, false},
    {"the other", POLICY_ACE07, {"HMAC 256/256"}, 0, false, true},
    {"both", POLICY_RFC9200, {"ES256", "HMAC 256/256"}, 0, true, true},
    {"one that no key is for, beside", POLICY_RFC9200, {"ES256", "ES512"}, 0, true, false},
    {"the same MAC, cut short", POLICY_RFC9200, {"ES256", "HMAC 256/64"}, 0, true, false},
    {"only one that no key is for", POLICY_RFC9200, {"ES512"}, "holds no key that is for", 0, 0},
    {"of the other family", POLICY_RFC9200, {"HS256"}, "p:1:2: error: 'HS256' is no alg", 0, 0},
    {"none", POLICY_OAUTH, {"none"}, "p:1:2: error: 'none' is no algorithm of JWTs", 0, 0},
    {"JOSE", POLICY_OAUTH, {"ES256"}, 0, true, false},
    {"JOSE, COSE's name", POLICY_OAUTH, {"HMAC 256/256"}, "is no algorithm of JWTs", 0, 0},
    {"another case", POLICY_RFC9200, {"es256"}, "there are ES256, ES384,", 0, 0},
    {"empty", POLICY_RFC9200, {""}, "'' is no algorithm of CWTs", 0, 0},
    {"the second", POLICY_RFC9200, {"ES256", "ES265"}, "'ES265' is no", 0, 0},
};

static void test_algorithms(void **state)
{
    (void)state;
    put_file("one",
             unhex("82 a50102 024161 2001 215820" X "225820" Y "a40104 024162 0305 205820" K16 K16),
             0600);
    for (size_t i = 0; i < sizeof algorithms / sizeof *algorithms; i++) {
        const struct algorithms_row *row = &algorithms[i];
        struct policy_file names[3];
        struct policy_authority a = {.name = "one",
                                     .keys = "one",
                                     .dialect = row->dialect,
                                     .algorithms = {[POLICY_JWS] = {.of = names}}};
        size_t *n = &a.algorithms[POLICY_JWS].n;
        for (; *n < 3 && row->names[*n]; ++*n)
            names[*n] =
                (struct policy_file){.name = row->names[*n], .where = "p:1:2", .excerpt = "x\n"};
        struct buf diag;
        struct keys *k = load(&a, 1, &diag);
        if ((k == NULL) != (row->says != NULL) || (!k && !strstr(diag_of(&diag), row->says)))
            fail_msg("%s: %s", row->name, diag_of(&diag));
        if (!k)
            continue;
        struct keys_found f;
        bool jose = row->dialect == POLICY_OAUTH;
        const struct crypto_alg *es256 = jose ? crypto_jose_of(-7) : crypto_alg(-7);
        const struct crypto_alg *hmac = jose ? crypto_jose_of(5) : crypto_alg(5);
        keys_find(k, -1, es256, BYTES_LIT("a"), &f);
        if ((f.n == 1) != row->ec || !f.kid_known)
            fail_msg("%s: ES256", row->name);
        keys_find(k, 0, hmac, BYTES_LIT("b"), &f);
        if ((f.n == 1) != row->mac || !f.kid_known)
            fail_msg("%s: HMAC", row->name);
        /* Without a kid it is known all the same that it is refused. */
        keys_find(k, -1, es256, BYTES_NONE, &f);
        if ((f.n == 1) != row->ec || f.kid_known == row->ec)
            fail_msg("%s: ES256 without kid", row->name);
        keys_free(k);
    }
    unlink(path_of("one"));
}

/* What a list leaves out was vouched for by nobody. */
static void test_algorithms_same(void **state)
{
    (void)state;
    struct buf diag;
    struct policy_file both[] = {{"ES256", "", ""}, {"HMAC 256/256", "", ""}};
    struct policy_authority a = {.name = "one", .keys = "one"};
    put_file("one",
             unhex("82 a50102 024161 2001 215820" X "225820" Y "a40104 024162 0305 205820" K16 K16),
             0600);
    struct keys *all = load(&a, 1, &diag);
    a.algorithms[POLICY_JWS] = (struct policy_algorithms){both, 2};
    struct keys *two = load(&a, 1, &diag);
    a.algorithms[POLICY_JWS].n = 1;
    struct keys *one = load(&a, 1, &diag);
    assert_true(all && two && one);
    assert_true(keys_same(two, 0, two, 0));
    assert_false(keys_same(all, 0, two, 0));
    assert_false(keys_same(two, 0, one, 0));
    keys_free(all);
    keys_free(two);
    keys_free(one);
    unlink(path_of("one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_psk),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_algorithms),
        cmocka_unit_test(test_algorithms_same),
        cmocka_unit_test(test_load_errors),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
