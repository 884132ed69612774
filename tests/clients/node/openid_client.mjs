// openid-client as its documentation has it, with the ID token's signature checked as well.

import * as client from 'openid-client'
import { converse, received } from './conversation.mjs'

let config
let asked

function tokens(response) {
  return { ...response, claims: response.claims() }
}

await converse({
  async discover({ issuer, client_id, client_secret }) {
    const authentication = client_secret ? client.ClientSecretPost(client_secret) : client.None()
    config = await client.discovery(new URL(issuer), client_id, undefined, authentication, {
      execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], // http, on loopback only
    })
  },

  async ask({ parameters }) {
    const verifier = client.randomPKCECodeVerifier()
    asked = {
      pkceCodeVerifier: verifier,
      expectedState: client.randomState(),
      expectedNonce: client.randomNonce(),
      maxAge: parameters.max_age === undefined ? undefined : Number(parameters.max_age),
    }
    const url = client.buildAuthorizationUrl(config, {
      ...parameters,
      state: asked.expectedState,
      nonce: asked.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    })
    return url.href
  },

  async take({ callback }) {
    return tokens(await client.authorizationCodeGrant(config, received(callback), asked))
  },

  async userinfo({ access_token, sub }) {
    return client.fetchUserInfo(config, access_token, sub)
  },

  async refresh({ refresh_token }) {
    return tokens(await client.refreshTokenGrant(config, refresh_token))
  },

  async end_session({ id_token, post_logout_redirect_uri, state }) {
    const url = client.buildEndSessionUrl(config, { id_token_hint: id_token, post_logout_redirect_uri, state })
    return url.href
  },
})
