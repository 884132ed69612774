// oauth4webapi as its examples have it, with HTTP Basic for the client's secret and the ID token's signature checked.

import * as oauth from 'oauth4webapi'
import { converse, received } from './conversation.mjs'

const http = { [oauth.allowInsecureRequests]: true } // on loopback only

let server
let client
let authentication
let asked

async function tokens(response, result) {
  if (result.id_token) await oauth.validateApplicationLevelSignature(server, response, http)
  return { ...result, claims: oauth.getValidatedIdTokenClaims(result) }
}

await converse({
  async discover({ issuer, client_id, client_secret }) {
    const identifier = new URL(issuer)
    server = await oauth.processDiscoveryResponse(identifier, await oauth.discoveryRequest(identifier, http))
    client = { client_id }
    authentication = client_secret ? oauth.ClientSecretBasic(client_secret) : oauth.None()
  },

  async ask({ parameters }) {
    const verifier = oauth.generateRandomCodeVerifier()
    asked = {
      verifier,
      state: oauth.generateRandomState(),
      nonce: oauth.generateRandomNonce(),
      maxAge: parameters.max_age === undefined ? undefined : Number(parameters.max_age),
      redirectUri: parameters.redirect_uri,
    }
    const url = new URL(server.authorization_endpoint)
    const query = {
      ...parameters,
      client_id: client.client_id,
      response_type: 'code',
      state: asked.state,
      nonce: asked.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
    }
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  },

  async take({ callback }) {
    const request = received(callback)
    const sent = request instanceof URL ? request : new URLSearchParams(await oauth.formPostResponse(request))
    const parameters = oauth.validateAuthResponse(server, client, sent, asked.state)
    const { redirectUri, verifier, nonce, maxAge } = asked
    const response = await oauth.authorizationCodeGrantRequest(
      server, client, authentication, parameters, redirectUri, verifier, http,
    )
    const checks = { expectedNonce: nonce, maxAge, requireIdToken: true }
    return tokens(response, await oauth.processAuthorizationCodeResponse(server, client, response, checks))
  },

  async userinfo({ access_token, sub }) {
    const response = await oauth.userInfoRequest(server, client, access_token, http)
    return oauth.processUserInfoResponse(server, client, sub, response)
  },

  async refresh({ refresh_token }) {
    const response = await oauth.refreshTokenGrantRequest(server, client, authentication, refresh_token, http)
    return tokens(response, await oauth.processRefreshTokenResponse(server, client, response))
  },

  async end_session({ id_token, post_logout_redirect_uri, state }) {
    const url = new URL(server.end_session_endpoint)
    const query = { id_token_hint: id_token, client_id: client.client_id, post_logout_redirect_uri, state }
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    return url.href
  },
})
