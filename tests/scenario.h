/* Scenarios: the real gate, pep and policy behind a fake wire, in invented
 * time. A scenario is a text of a few lines:
 *
 *   client ann psk thermostat-7 00112233445566778899aabbccddeeff
 *   ann connects
 *   ann sends CON GET /lamp/state mid=7 token=aa
 *   device lamp gets CON GET /state
 *   device lamp answers 2.05 "on"
 *   ann gets ACK 2.05 "on" mid=7 token=aa
 *
 * The words are explained beside the table of verbs in scenario.c. Every
 * line must hold; what a client or a device was sent and no line took is a
 * failure at the end, so that nothing is answered unseen.
 */
#ifndef POSTERN_SCENARIO_H
#define POSTERN_SCENARIO_H

#include <stdbool.h>

/* Plays one file against a fresh house. On failure false, with file:line
 * and what was wanted and got on stderr. */
bool scenario_play(const char *file, const char *house);

#endif
