#include "m2m_words.h"

const char *const m2m_operation_words[M2M_OPERATIONS] = {"CREATE", "RETRIEVE", "UPDATE",
                                                         "DELETE", "NOTIFY",   "DISCOVERY"};

const char *m2m_operation_str(unsigned operation)
{
    return operation >= 1 && operation <= M2M_OPERATIONS ? m2m_operation_words[operation - 1]
                                                         : NULL;
}

enum { ANNOUNCED = 10000 }; /* the type of an announced resource is its own and this */

static const struct {
    uint16_t number;
    const char *name;
} types[] = {
    {1, "accessControlPolicy"},
    {2, "AE"},
    {3, "container"},
    {4, "contentInstance"},
    {5, "CSEBase"},
    {6, "delivery"},
    {7, "eventConfig"},
    {8, "execInstance"},
    {9, "group"},
    {10, "locationPolicy"},
    {11, "m2mServiceSubscriptionProfile"},
    {12, "mgmtCmd"},
    {13, "mgmtObj"},
    {14, "node"},
    {15, "pollingChannel"},
    {16, "remoteCSE"},
    {17, "request"},
    {18, "schedule"},
    {19, "serviceSubscribedAppRule"},
    {20, "serviceSubscribedNode"},
    {21, "statsCollect"},
    {22, "statsConfig"},
    {23, "subscription"},
    {24, "semanticDescriptor"},
    {25, "notificationTargetMgmtPolicyRef"},
    {26, "notificationTargetPolicy"},
    {27, "policyDeletionRules"},
    {28, "flexContainer"},
    {29, "timeSeries"},
    {30, "timeSeriesInstance"},
    {31, "role"},
    {32, "token"},
    {34, "dynamicAuthorizationConsultation"},
    {35, "authorizationDecision"},
    {36, "authorizationPolicy"},
    {37, "authorizationInformation"},
    {38, "ontologyRepository"},
    {39, "ontology"},
    {40, "semanticMashupJobProfile"},
    {41, "semanticMashupInstance"},
    {42, "semanticMashupResult"},
    {43, "AEContactList"},
    {44, "AEContactListPerCSE"},
    {45, "localMulticastGroup"},
    {46, "multimediaSession"},
    {47, "triggerRequest"},
    {48, "crossResourceSubscription"},
    {49, "backgroundDataTransfer"},
    {50, "transactionMgmt"},
    {51, "transaction"},
    {ANNOUNCED + 1, "accessControlPolicyAnnc"},
    {ANNOUNCED + 2, "AEAnnc"},
    {ANNOUNCED + 3, "containerAnnc"},
    {ANNOUNCED + 4, "contentInstanceAnnc"},
    {ANNOUNCED + 5, "CSEBaseAnnc"},
    {ANNOUNCED + 9, "groupAnnc"},
    {ANNOUNCED + 10, "locationPolicyAnnc"},
    {ANNOUNCED + 13, "mgmtObjAnnc"},
    {ANNOUNCED + 14, "nodeAnnc"},
    {ANNOUNCED + 16, "remoteCSEAnnc"},
    {ANNOUNCED + 18, "scheduleAnnc"},
    {ANNOUNCED + 24, "semanticDescriptorAnnc"},
    {ANNOUNCED + 28, "flexContainerAnnc"},
    {ANNOUNCED + 29, "timeSeriesAnnc"},
    {ANNOUNCED + 30, "timeSeriesInstanceAnnc"},
    {ANNOUNCED + 38, "ontologyRepositoryAnnc"},
    {ANNOUNCED + 39, "ontologyAnnc"},
    {ANNOUNCED + 40, "semanticMashupJobProfileAnnc"},
    {ANNOUNCED + 41, "semanticMashupInstanceAnnc"},
    {ANNOUNCED + 42, "semanticMashupResultAnnc"},
    {ANNOUNCED + 46, "multimediaSessionAnnc"},
};

enum { N_TYPES = sizeof types / sizeof *types };

const char *m2m_type_str(unsigned type)
{
    for (size_t i = 0; i < N_TYPES; i++)
        if (types[i].number == type)
            return types[i].name;
    return NULL;
}

const char *m2m_type_name(size_t i)
{
    return i < N_TYPES ? types[i].name : NULL;
}

const char *m2m_type_parse(struct bytes text, uint16_t *out)
{
    uint32_t n = 0;
    for (size_t i = 0; i < N_TYPES; i++)
        if (bytes_equal_str(text, types[i].name)) {
            *out = types[i].number;
            return NULL;
        }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return "no resource type of this name (TS-0004 6.3.4.2.1)";
        n = n * 10 + (uint32_t)(text.p[i] - '0');
        if (n > UINT16_MAX)
            return "a resource type is a number from 1 to 65535";
    }
    if (n == 0)
        return "a resource type is a name, such as container, or a number from 1 to 65535";
    *out = (uint16_t)n;
    return NULL;
}
