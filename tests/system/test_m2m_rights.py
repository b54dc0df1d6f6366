"""The operator's command before CSEs: what it says of operations, types, roles
and originators, and what it warns of."""
import json

from house import House

CONFIG = """\
listen: ["coaps://127.0.0.1:1"]
state: .
policy: cse-policy.yaml
devices:
  - {name: cse, path: /cse, url: "coap://127.0.0.1:2", dialect: onem2m, cse-id: /mn-cse,
     sp-id: //sp.example, cse-base: cb}
  - {name: lamp, path: /lamp, url: "coap://127.0.0.1:2"}
"""
POLICY = """\
version: 1
roles:
  meter:
    role-id: meter@sp.example
    permit:
      - {path: /cse/cb, operations: CREATE, types: AE}
      - {path: /cse/cb/meters/**, operations: [CREATE, RETRIEVE], types: [container]}
  guest: {permit: [{path: /lamp/**, methods: GET}]}
subjects:
  - {name: m3, psk-identity: m3, key-file: keys/panel.psk, roles: [meter, guest],
     originator: Cm3, may-register: C}
mca-without-association:
  - {originators: Cfree, operations: RETRIEVE, roles: meter}
"""


class Words(House):
    def setUp(self):
        super().setUp()
        self.gw.write("cse.yaml", CONFIG)
        self.gw.write("cse-policy.yaml", POLICY)

    def explain(self, *args, check):
        return json.loads(self.gw.postern("explain", "-j", "-c", "cse.yaml", *args,
                                          check=check).text)

    def test_explain(self):
        made = ("--operation", "CREATE", "--type")
        for args, reason, rsc in (
                (("-s", "m3", *made, "container", "/cse/cb/meters/3"), "permitted", None),
                (("-s", "m3", "POST", "--type", "3", "/cse/cb/meters/3"), "permitted", None),
                (("-s", "m3", *made, "contentInstance", "/cse/cb/meters/3"), "not-type", 4103),
                (("-s", "m3", "GET", "/cse/~/mn-cse/cb/meters/3"), "permitted", None),
                (("-s", "m3", "GET", "/cse/~/in-cse/cb/meters/3"), "not-resource", 4103),
                (("-s", "m3", "--operation", "DISCOVERY", "/cse/cb/meters/3"), "not-method", 4103),
                (("-s", "m3", "-O", "Cm3", "GET", "/cse/cb/meters/3"), "permitted", None),
                (("-s", "m3", "-O", "/mn-cse/Cm3", "GET", "/cse/cb/meters/3"), "permitted", None),
                (("-s", "m3", "-O", "Cm4", "GET", "/cse/cb/meters/3"),
                 "originator-not-authenticated", 4106),
                (("-s", "m3", "-O", "C", *made, "AE", "/cse/cb"), "permitted", None),
                (("-s", "m3", "-O", "S", *made, "AE", "/cse/cb"), "registration-not-allowed", 4126),
                (("-O", "Cfree", "GET", "/cse/cb/meters/3"), "permitted", None),
                (("-O", "Cm3", "GET", "/cse/cb/meters/3"), "no-association", 4107),
                (("-O", "Cfree", "DELETE", "/cse/cb/meters/3"), "no-association", 4107),
                (("-s", "m3", "--role", "meter@sp.example", "GET", "/cse/cb/meters/3"),
                 "permitted", None),
                (("-s", "m3", "--role", "guest", "GET", "/cse/cb/meters/3"), "not-resource", 4103),
                (("-s", "m3", "GET", "/lamp/x"), "permitted", None)):
            e = self.explain(*args, check=0 if reason == "permitted" else 1)
            self.assertEqual((e["reason"], e.get("rsc")), (reason, rsc), args)

    def test_explain_misused(self):
        for args, why in (
                (("-s", "m3", "/cse/cb"), "missing argument: METHOD"),
                (("-s", "m3", "--operation", "CREATES", "/cse/cb"), "did you mean 'CREATE'?"),
                (("-s", "m3", "--operation", "CREATE", "/cse/cb"), "has a --type"),
                (("-s", "m3", "--type", "3", "GET", "/cse/cb"), "has a --type"),
                (("-s", "m3", "--type", "ae", "POST", "/cse/cb"), "no resource type of this name"),
                (("-s", "m3", "FETCH", "/cse/cb"), "a CSE is asked by"),
                (("-s", "m3", "--operation", "RETRIEVE", "/lamp/x"), "'lamp' is no CSE"),
                (("-O", "Cm3", "GET", "/lamp/x"), "'lamp' is no CSE"),
                (("--operation", "RETRIEVE", "/cse/cb"), "who asks")):
            r = self.gw.postern("explain", "-c", "cse.yaml", *args, check=64)
            self.assertIn(why, r.err, args)

    def warnings(self, old, new):
        self.assertIn(old, POLICY)
        self.gw.write("cse-policy.yaml", POLICY.replace(old, new, 1))
        r = self.gw.postern("check", "-c", "cse.yaml")
        self.assertEqual(r.text, "cse.yaml: ok\n")
        return [line.split(": warning: ")[1] for line in r.err.splitlines()]

    def test_check_warns(self):
        nobody = "nobody can come without an association: no listener is coap"
        self.assertEqual(self.warnings("meter", "meter"), [nobody])
        self.assertEqual(
            self.warnings("{path: /lamp/**, methods: GET}", "{path: /lamp/**, operations: RETRIEVE}"),
            [nobody, "'lamp' is no CSE, so this rule of 'guest' with operations permits nothing there"])
        self.assertEqual(
            self.warnings("operations: CREATE, types: AE", "methods: POST"),
            [nobody, "'cse' is a CSE, so this rule of 'meter' with methods permits nothing there"])
        # at any device, or of both kinds: that is as it should be
        self.assertEqual(self.warnings("path: /lamp/**, methods: GET",
                                       "path: /**, operations: RETRIEVE"), [nobody])
        self.assertEqual(self.warnings("path: /lamp/**, methods: GET",
                                       "path: /lamp/**, methods: GET, operations: RETRIEVE"),
                         [nobody])
        self.assertEqual(
            self.warnings("originators: Cfree", "originators: /mn-cse/Cm3"),
            [nobody, "at 'cse', '/mn-cse/Cm3' is subject 'm3', and so needs an association"])
        self.assertEqual(
            self.warnings("subjects:\n", "subjects:\n  - {name: b, psk-identity: b, key-file: "
                                         "keys/panel.psk, roles: [], originator: /mn-cse/Cm3}\n"),
            ["at 'cse', 'Cm3' is an AE of subject 'b', too", nobody])
